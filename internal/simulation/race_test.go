//go:build race

package simulation

// The race detector makes everything ten times slower: with it only a few seeds are played.
const raceDetector = true
