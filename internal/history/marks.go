package history

import (
	"cmp"
	"slices"
	"time"
)

const (
	markSpacing = 100 * time.Millisecond // of marks of different revisions, at least
	mostMarks   = 10_000
)

// mark says that a revision was there at a time, and was the newest then, as far as is known.
type mark struct {
	revision int64
	at       int64 // nanoseconds since 1970
}

// marks are those that are kept, revisions and times growing.
type marks struct{ all []mark }

// add notes one. One that contradicts those before takes their place, and so does one that adds next to nothing: the first and the last of one
// revision say it all.
func (m *marks) add(revision, at int64) {
	for n := len(m.all); n > 0 && (m.all[n-1].at > at || m.all[n-1].revision > revision); n-- {
		m.all = m.all[:n-1]
	}
	if n := len(m.all); n > 1 && (m.all[n-2].revision == revision || m.all[n-1].at-m.all[n-2].at < int64(markSpacing)) {
		m.all = m.all[:n-1]
	}
	m.all = append(m.all, mark{revision, at})
	if len(m.all) > mostMarks {
		m.thin()
	}
}

// thin forgets every second one of the older half.
func (m *marks) thin() {
	half := len(m.all) / 2
	n := 0
	for i := 0; i < half; i += 2 {
		m.all[n] = m.all[i]
		n++
	}
	m.all = append(m.all[:n], m.all[half:]...)
}

// forget drops marks older than a time, but for the last of them.
func (m *marks) forget(oldest int64) {
	n, _ := slices.BinarySearchFunc(m.all, oldest, func(a mark, at int64) int { return cmp.Compare(a.at, at) })
	if n > 1 {
		m.all = slices.Delete(m.all, 0, n-1)
	}
}

// until returns the last mark that is not after a time.
func (m *marks) until(at int64) (mark, bool) {
	n, found := slices.BinarySearchFunc(m.all, at, func(a mark, at int64) int { return cmp.Compare(a.at, at) })
	if found {
		for n+1 < len(m.all) && m.all[n+1].at == at {
			n++
		}
		return m.all[n], true
	}
	if n == 0 {
		return mark{}, false
	}
	return m.all[n-1], true
}

// around returns the marks before and from a revision on.
func (m *marks) around(revision int64) (before, from mark) {
	n, _ := slices.BinarySearchFunc(m.all, revision, func(a mark, revision int64) int { return cmp.Compare(a.revision, revision) })
	if n > 0 {
		before = m.all[n-1]
	}
	if n < len(m.all) {
		from = m.all[n]
	}
	return before, from
}
