import React, { useEffect, useState } from "react";
import Echo from "laravel-echo";

const AdminNotifications = () => {
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
            authEndpoint: "/api/broadcasting/auth",
            auth: {
                headers: {
                    Authorization: `Bearer ${localStorage.getItem("token")}`,
                },
            },
        });

        // Listen to admin notifications
        echo.channel("admin")
            .listen("NewBookingNotification", (e) => {
                setNotifications((prev) => [
                    {
                        id: Date.now(),
                        type: "new_booking",
                        message: `New booking from ${e.data.customer_name}`,
                        data: e.data,
                        timestamp: new Date(),
                    },
                    ...prev,
                ]);
            })
            .listen("PaymentVerificationRequired", (e) => {
                setNotifications((prev) => [
                    {
                        id: Date.now(),
                        type: "payment_verification",
                        message: `Payment verification required for ${e.data.customer_name}`,
                        data: e.data,
                        timestamp: new Date(),
                    },
                    ...prev,
                ]);
            });

        return () => {
            echo.leave("admin");
        };
    }, []);

    return (
        <div className="admin-notifications">
            <h3>Real-time Notifications</h3>
            {notifications.map((notification) => (
                <div key={notification.id} className="notification">
                    <p>{notification.message}</p>
                    <small>{notification.timestamp.toLocaleTimeString()}</small>
                </div>
            ))}
        </div>
    );
};

export default AdminNotifications;
