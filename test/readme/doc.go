// Package readme does what the README says, word for word: its two commands, and its tour. What is printed is compared with what the
// README shows, but for what differs each time, such as ids and times.
package readme
