import { useEffect, useState } from "react";
import Echo from "laravel-echo";

const useRealtimeAvailability = () => {
    const [availability, setAvailability] = useState({});

    useEffect(() => {
        const echo = new Echo({
            broadcaster: "pusher",
            key: process.env.REACT_APP_PUSHER_KEY,
            cluster: process.env.REACT_APP_PUSHER_CLUSTER,
            wsHost: process.env.REACT_APP_PUSHER_HOST,
            wsPort: process.env.REACT_APP_PUSHER_PORT,
            wssPort: process.env.REACT_APP_PUSHER_PORT,
            forceTLS: true,
            authEndpoint: "/api/broadcasting/auth",
            auth: {
                headers: {
                    Authorization: `Bearer ${localStorage.getItem("token")}`,
                },
            },
        });

        // Listen to availability updates
        echo.channel("availability")
            .listen("AvailabilityUpdated", (e) => {
                setAvailability((prev) => ({
                    ...prev,
                    [e.data.session_id]: e.data,
                }));
            })
            .listen("CapacityUpdated", (e) => {
                setAvailability((prev) => ({
                    ...prev,
                    [e.data.session_id]: {
                        ...prev[e.data.session_id],
                        current_capacity: e.data.current_capacity,
                        max_capacity: e.data.max_capacity,
                    },
                }));
            });

        return () => {
            echo.leave("availability");
        };
    }, []);

    return availability;
};

export default useRealtimeAvailability;
