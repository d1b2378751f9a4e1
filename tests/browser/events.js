// The eight events of the booking document, each with the payload it shows and the channel a backend posts it on.

const updated_at = "2024-01-15T08:00:00Z";
const session = { session_id: 1, session_name: "Morning Session", date: "2024-01-15" };
const booking = { booking_id: 1, booking_code: "BK001" };
const customer_name = "John Doe";
const session_name = "Morning Session";

export const events = [
  ["availability", "AvailabilityUpdated", { ...session, available_slots: 5, total_capacity: 20, updated_at }],
  ["availability", "CapacityUpdated", { ...session, current_capacity: 15, max_capacity: 20, updated_at }],
  ["private-booking.7", "BookingStatusUpdated", { ...booking, status: "confirmed", payment_status: "paid", updated_at }],
  ["private-booking.7", "PaymentStatusUpdated", { ...booking, payment_status: "verified", updated_at }],
  [
    "admin",
    "NewBookingNotification",
    {
      ...booking,
      customer_name,
      session_name,
      booking_date: "2024-01-15",
      total_amount: 50000,
      created_at: updated_at,
    },
  ],
  [
    "admin",
    "PaymentVerificationRequired",
    {
      payment_id: 1,
      ...booking,
      customer_name,
      amount: 50000,
      payment_method: "bank_transfer",
      submitted_at: updated_at,
    },
  ],
  ["staff", "CheckInNotification", { ...booking, customer_name, session_name, checkin_time: "2024-01-15T08:05:00Z" }],
  ["staff", "CheckOutNotification", { ...booking, customer_name, session_name, checkout_time: "2024-01-15T10:00:00Z" }],
];
