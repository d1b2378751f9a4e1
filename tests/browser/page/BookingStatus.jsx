import React, { useEffect, useState } from "react";
import Echo from "laravel-echo";

const BookingStatus = ({ bookingId }) => {
    const [booking, setBooking] = useState(null);
    const [status, setStatus] = useState("pending");

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

        // Listen to booking updates for specific user
        const userId = localStorage.getItem("user_id");
        echo.private(`booking.${userId}`)
            .listen("BookingStatusUpdated", (e) => {
                if (e.data.booking_id === bookingId) {
                    setStatus(e.data.status);
                }
            })
            .listen("PaymentStatusUpdated", (e) => {
                if (e.data.booking_id === bookingId) {
                    setBooking((prev) => ({
                        ...prev,
                        payment_status: e.data.payment_status,
                    }));
                }
            });

        return () => {
            echo.leave(`booking.${userId}`);
        };
    }, [bookingId]);

    return (
        <div className="booking-status">
            <h3>Booking Status</h3>
            <p>Status: {status}</p>
            {booking && <p>Payment: {booking.payment_status}</p>}
        </div>
    );
};

export default BookingStatus;
