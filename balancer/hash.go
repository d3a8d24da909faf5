package balancer

// hashString is FNV-1a, made even in all its bits: the same in every process, as a sticky header needs it.
func hashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for n := range len(s) {
		h = (h ^ uint64(s[n])) * 1099511628211
	}
	return scramble(h)
}

// scramble is the finalizer of splitmix64: a bit more or less in, half of the bits out.
func scramble(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
