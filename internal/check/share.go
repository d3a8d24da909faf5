package check

import "slices"

// place names one instance.
type place struct{ service, id string }

// share tells which of some servers checks an instance, by rendezvous: each server draws a number for each instance, and the highest one
// has it. A server that comes or goes so moves only what it gets or had, and everybody who knows the same servers draws the same.
type share struct {
	servers []string // sorted
	draws   []uint64 // of the servers, to be mixed with an instance's
}

func newShare(servers []string) share {
	s := share{servers: slices.Sorted(slices.Values(servers))}
	for _, name := range s.servers {
		s.draws = append(s.draws, mix(hash(seed, name)))
	}
	return s
}

// owner returns the server that checks an instance; "" when there is none.
func (s share) owner(p place) string {
	var owner string
	var highest uint64
	own := hash(hash(hash(seed, p.service), "/"), p.id)
	for n, draw := range s.draws {
		if drawn := mix(own ^ draw); owner == "" || drawn >= highest {
			owner, highest = s.servers[n], drawn
		}
	}
	return owner
}

// seed is where FNV-1a begins.
const seed = 14695981039346656037

// hash goes on with a text, as FNV-1a does.
func hash(h uint64, text string) uint64 {
	for n := range len(text) {
		h = (h ^ uint64(text[n])) * 1099511628211
	}
	return h
}

// mix spreads each bit over all of them, which FNV does not: names differ in their last characters.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
