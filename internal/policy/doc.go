// Package policy keeps the house rules by tests: who may import whom, what is documented, what the documents claim, and
// what stands in go.mod. It has no code of its own.
package policy
