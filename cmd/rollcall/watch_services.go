package main

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// summaryChange is what became of a service.
type summaryChange struct {
	op  string // joined, changed or left
	now *rollcallv1.ServiceSummary
}

// mergeSummaries takes what is new into what is known, and returns what has changed, sorted by name.
func mergeSummaries(known map[string]*rollcallv1.ServiceSummary, s *allServices) []summaryChange {
	var changes []summaryChange
	told := map[string]bool{}
	for _, now := range s.changed {
		name := now.GetService()
		told[name] = true
		before := known[name]
		switch gone := now.GetInstances() == 0; {
		case gone && before == nil:
		case gone:
			delete(known, name)
			changes = append(changes, summaryChange{"left", now})
		case before == nil:
			known[name] = now
			changes = append(changes, summaryChange{"joined", now})
		case !sameSummary(before, now):
			known[name] = now
			changes = append(changes, summaryChange{"changed", now})
		}
	}
	if s.complete {
		for _, name := range slices.Sorted(maps.Keys(known)) {
			if !told[name] {
				delete(known, name)
				changes = append(changes, summaryChange{"left", &rollcallv1.ServiceSummary{Service: name}})
			}
		}
	}
	return changes
}

// sameSummary compares what people see; that an instance was rewritten as it was they do not.
func sameSummary(a, b *rollcallv1.ServiceSummary) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.Revision, b.Revision = 0, 0
	return proto.Equal(a, b)
}

// who says who does not answer.
func (s *allServices) who(place string) string {
	if s.silent {
		return place
	}
	return "etcd"
}
