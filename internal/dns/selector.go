package dns

// lastWord returns where the last of our labels is among those from i up to j, or -1.
func (q *query) lastWord(i, j int) int {
	for j--; j >= i; j-- {
		if l := string(q.label(j)); l == labelZone || l == labelVersion {
			return j
		}
	}
	return -1
}

// match is how much of the labels of a selector there is.
type match int

const (
	absent match = iota
	partly       // they are what others end with
	fully
)

// choose reads the selectors of labels from from, of which the last ends at last, into a key.
func (a *arrangement) choose(q *query, from, last int, key *setKey) match {
	before := q.lastWord(from, last)
	m := a.value(q, before+1, from, last, key)
	if before < 0 || m == absent {
		return m
	}
	if m != fully || before+1 == last || string(q.label(before)) == string(q.label(last)) {
		return absent
	}
	return a.value(q, from, from, before, key)
}

// value reads the value that ends in front of our label at word.
func (a *arrangement) value(q *query, i, from, word int, key *setKey) match {
	i = max(i, from)
	v := a.of(q.label(word))
	if i == word {
		if len(v.named) == 0 {
			return absent
		}
		return partly
	}
	labels := q.span(i, word)
	value, known := v.named[string(labels)]
	switch _, part := v.parts[string(labels)]; {
	case !known && part:
		return partly
	case !known:
		return absent
	}
	if string(q.label(word)) == labelZone {
		key.zone = value
	} else {
		key.version = value
	}
	return fully
}

// values are the zones of a service, or its versions.
type values struct {
	members map[string][]*member // by value
	named   map[string]string    // values by their labels
	parts   map[string]struct{}  // that such labels end with
}

func (v *values) add(value string, m *member) {
	if value == "" {
		return
	}
	list, known := v.members[value]
	v.members[value] = append(list, m)
	if known {
		return
	}
	labels, ok := appendValue(nil, value)
	if !ok {
		return
	}
	v.named[string(labels)] = value
	parents(labels, func(part []byte) { v.parts[string(part)] = struct{}{} })
}

func newValues() values {
	return values{map[string][]*member{}, map[string]string{}, map[string]struct{}{}}
}

// index finds out which zones, versions and ports there are, when somebody asks for one.
func (a *arrangement) index() {
	a.indexed.Do(func() {
		a.zones, a.version, a.ports = newValues(), newValues(), map[string]string{}
		seen := map[string]struct{}{}
		for _, m := range a.members {
			a.zones.add(m.instance.Zone, m)
			a.version.add(m.instance.Version, m)
			for name := range m.more {
				if _, known := seen[name]; known {
					continue
				}
				seen[name] = struct{}{}
				if label, ok := appendPort(nil, name); ok {
					a.ports[string(label[2:])] = name
				}
			}
		}
	})
}

// of returns the zones or the versions, by our label for them.
func (a *arrangement) of(word []byte) *values {
	a.index()
	if string(word) == labelZone {
		return &a.zones
	}
	return &a.version
}
