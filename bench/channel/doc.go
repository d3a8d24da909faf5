// Package channel measures what gRPC channels cost their callers, with rollcall and with other libraries: until an instance
// that comes is called and one that goes is not, for each change among many, through a rolling restart, and until all
// connections stand.
//
// The contenders have a process each, which is this package's [Main] in a program of its own: the test binary for what
// rollcall and gRPC themselves bring, and the program in peers for the other libraries, some of which do things in the
// background that would be measured with the others.
package channel
