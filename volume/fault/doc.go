// Package fault answers one question about an error: what can the caller do about it?
//
// A Code is a stable word for a program, a Kind says what sort of trouble it is, and one table
// (kinds) joins the two. An error is given its code once, where its cause is known, and travels up
// unchanged; api/rest turns its Kind into an HTTP status, again in one place.
package fault
