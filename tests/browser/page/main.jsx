// Puts the booking document's components on one page. They stand in files of their own, as the document shows
// them but for wsHost, wsPort and wssPort; this file and StaffNotifications.jsx are ours.

import "./bootstrap.js";

import React, { useState } from "react";
import { createRoot } from "react-dom/client";
import { createApp } from "vue";

import AdminNotifications from "./AdminNotifications.jsx";
import authenticateBroadcasting from "./authenticateBroadcasting.js";
import BookingStatus from "./BookingStatus.jsx";
import RealtimeAvailability from "./RealtimeAvailability.vue";
import StaffNotifications from "./StaffNotifications.jsx";
import useRealtimeAvailability from "./useRealtimeAvailability.jsx";

window.authenticateBroadcasting = authenticateBroadcasting;

const Availability = () => {
    const sessions = Object.values(useRealtimeAvailability());
    return (
        <div className="availability">
            <h3>Availability</h3>
            {sessions.map((session) => (
                <p key={session.session_id}>
                    {session.session_name}: {session.available_slots} of {session.total_capacity} free, capacity{" "}
                    {session.current_capacity}/{session.max_capacity}
                </p>
            ))}
        </div>
    );
};

const vue = createApp(RealtimeAvailability);

const App = () => {
    const [open, setOpen] = useState(true);
    const leave = () => {
        setOpen(false);
        vue.unmount();
    };
    return (
        <>
            <button onClick={leave}>Leave</button>
            {open && (
                <>
                    <Availability />
                    <BookingStatus bookingId={1} />
                    <AdminNotifications />
                    <StaffNotifications />
                </>
            )}
        </>
    );
};

vue.mount("#vue");
createRoot(document.getElementById("react")).render(<App />);
