import axios from "axios";

// Broadcasting authentication endpoint
const authenticateBroadcasting = async (socketId, channelName) => {
    try {
        const response = await axios.post(
            "/api/broadcasting/auth",
            {
                socket_id: socketId,
                channel_name: channelName,
            },
            {
                headers: {
                    Authorization: `Bearer ${localStorage.getItem("token")}`,
                    Accept: "application/json",
                    "Content-Type": "application/json",
                },
            }
        );
        return response.data;
    } catch (error) {
        console.error("Error authenticating broadcasting:", error);
    }
};

export default authenticateBroadcasting;
