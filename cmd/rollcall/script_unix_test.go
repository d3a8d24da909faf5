//go:build unix

package main

import "syscall"

// STOP lets what was started hang: its connections stay open and it does nothing.
func init() { signals["STOP"] = syscall.SIGSTOP }
