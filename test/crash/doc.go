// Package crash kills the real server at random moments of a mixed load, starts it again, and holds what is
// there against what it had acknowledged. CRASHES in the environment sets how often, CRASH_SEED repeats a run.
package crash
