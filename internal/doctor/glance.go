package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Member is how one member of etcd is.
type Member struct {
	Name     string // "" of one that never started, or that nobody could name
	ID       string // in hexadecimal; "" when it is not known
	Endpoint string // where it was asked
	Version  string

	Leader, Learner    bool
	Size, InUse, Quota int64         // of its store, in bytes; a Quota of 0 is not known
	Took               time.Duration // to answer a read from its own store
	Err                string        // why it does not answer; "" when it does
}

// Glance asks every member of etcd how it is, each for as long as a check may ask one, and returns them sorted by name, with what etcd
// raises alarm about. It is the quick look of a status, not a diagnosis.
func Glance(ctx context.Context, in Input) (members []Member, alarms []string) {
	in.Thresholds = in.Thresholds.withDefaults()
	p := newPatient(in)
	defer p.close()
	seen, err := p.members(ctx)
	if err != nil && len(seen) == 0 {
		return nil, nil
	}
	for _, m := range seen {
		one := Member{Name: m.name, Endpoint: m.endpoint, Took: m.reads}
		if m.id != 0 {
			one.ID = fmt.Sprintf("%x", m.id)
		}
		if m.err != nil {
			one.Err = inWords(m.err)
			members = append(members, one)
			continue
		}
		s := m.status
		one.Version, one.Learner, one.Leader = s.Version, s.IsLearner, s.Leader == m.id && m.id != 0
		one.Size, one.InUse, one.Quota = s.DbSize, s.DbSizeInUse, s.DbSizeQuota
		for _, text := range s.Errors {
			if name := alarmIn(text); !slices.Contains(alarms, name) {
				alarms = append(alarms, name)
			}
		}
		members = append(members, one)
	}
	slices.SortStableFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return members, alarms
}

// alarmIn returns the alarm that an error of a member's status is about, or the error.
func alarmIn(text string) string {
	for _, name := range []string{"NOSPACE", "CORRUPT"} {
		if strings.Contains(text, name) {
			return name
		}
	}
	return text
}
