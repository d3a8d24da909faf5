package rollcall

import "sync"

// maxGarbage bounds how many unreadable keys are remembered as logged. Beyond it some are logged again.
const maxGarbage = 10_000

// garbage is what a registry met in etcd that cannot be read. Each write is counted and logged once, by whomever it is
// read.
type garbage struct {
	mu     sync.Mutex
	seen   map[string]int64 // key → revision of the write
	counts map[string]int64 // service → writes
}

// met counts a write that cannot be read, and reports whether it was met for the first time.
func (g *garbage) met(service, key string, revision int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen[key] == revision {
		return false
	}
	if g.seen == nil || len(g.seen) >= maxGarbage {
		g.seen = map[string]int64{}
	}
	if g.counts == nil {
		g.counts = map[string]int64{}
	}
	g.seen[key] = revision
	g.counts[service]++
	return true
}

func (g *garbage) count(service string) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts[service]
}
