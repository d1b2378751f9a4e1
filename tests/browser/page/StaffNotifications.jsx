import React, { useEffect, useState } from "react";
import Echo from "laravel-echo";

const StaffNotifications = () => {
    const [notifications, setNotifications] = useState([]);

    useEffect(() => {
        const echo = new Echo({
            broadcaster: "pusher",
            key: process.env.REACT_APP_PUSHER_KEY,
            cluster: process.env.REACT_APP_PUSHER_CLUSTER,
            wsHost: process.env.REACT_APP_PUSHER_HOST,
            wsPort: process.env.REACT_APP_PUSHER_PORT,
            wssPort: process.env.REACT_APP_PUSHER_PORT,
            forceTLS: true,
        });

        const add = (message) => setNotifications((prev) => [message, ...prev]);
        echo.channel("staff")
            .listen("CheckInNotification", (e) => {
                add(`${e.data.customer_name} checked in at ${e.data.checkin_time}`);
            })
            .listen("CheckOutNotification", (e) => {
                add(`${e.data.customer_name} checked out at ${e.data.checkout_time}`);
            });

        return () => {
            echo.leave("staff");
        };
    }, []);

    return (
        <div className="staff-notifications">
            <h3>Staff Notifications</h3>
            {notifications.map((message) => (
                <p key={message}>{message}</p>
            ))}
        </div>
    );
};

export default StaffNotifications;
