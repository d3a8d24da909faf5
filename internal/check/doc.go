// Package check is what a server does for instances that ask to be checked: it probes those that fall to it, by gRPC, HTTP or TCP, and
// reports to the registry which of them are unhealthy. docs/checks.md says what users are promised.
//
// One goroutine, the loop, owns all that is decided: which instances are whose (share.go), when the next probe is due (alarm.go), what
// a probe's outcome means (verdict.go) and what is to be reported (report.go). Beside it there are only the probes under way and the
// writes under way. What a probe may connect to, and that it connects to nothing else, is in rules.go and dial.go.
package check
