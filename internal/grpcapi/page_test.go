package grpcapi

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

func FuzzPageToken(f *testing.F) {
	question := questionOf(&rollcallv1.ListServicesRequest{Prefix: "a"})
	f.Add(page{After: "svc", Question: question}.token())
	f.Add(page{After: "svc", Question: []byte("other")}.token())
	f.Add("")
	f.Add("e30")
	f.Add("====")
	f.Fuzz(func(t *testing.T, token string) {
		p, err := pageOf(token, question)
		if err != nil {
			if _, invalid := violationsOf(err); !invalid {
				t.Errorf("a bad token is refused with %v", err)
			}
			return
		}
		if token == "" {
			return
		}
		if !bytes.Equal(p.Question, question) || len(p.After) > longest {
			t.Errorf("taken: %+v", p)
		}
		again, err := pageOf(p.token(), question)
		if err != nil || again.After != p.After {
			t.Errorf("the token of %+v is read as %+v, %v", p, again, err)
		}
	})
}

func violationsOf(err error) (field string, invalid bool) {
	all := violations(err)
	if len(all) == 0 {
		return "", false
	}
	return all[0].GetField(), true
}

// FuzzRequests has requests of any bytes meet what reads them before the registry does.
func FuzzRequests(f *testing.F) {
	add := func(kind byte, m proto.Message) {
		bytes, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(kind, bytes)
	}
	add(0, &rollcallv1.ListServicesRequest{Prefix: "a", Labels: []string{"zone=a", "team=b"}, PageSize: 5, PageToken: "e30"})
	p := rollcall.Policy{Retry: &rollcall.Retry{Attempts: 3}, Reason: "why"}
	policy, err := message.Policy(&p)
	if err != nil {
		f.Fatal(err)
	}
	add(1, policy)
	add(2, &rollcallv1.Override{Drain: true, Reason: "why"})
	add(3, message.Instance(&rollcall.Instance{ID: "i", Addr: "a:1", Metadata: map[string]string{"a": "b"}}))
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		switch kind % 4 {
		case 0:
			m := &rollcallv1.ListServicesRequest{}
			if proto.Unmarshal(data, m) != nil {
				return
			}
			_ = checkPrefix(m.GetPrefix())
			if _, err := pageSizeOf(m.GetPageSize()); err == nil {
				_, _ = pageOf(m.GetPageToken(), questionOf(m))
			}
			if all, err := labelsOf(m.GetLabels()); err == nil {
				all.on(&rollcall.Instance{})
			}
		case 1:
			m := &rollcallv1.Policy{}
			if proto.Unmarshal(data, m) != nil {
				return
			}
			p, err := message.PolicyOf(m)
			if err != nil {
				if StatusOf(err).Code().String() != "InvalidArgument" {
					t.Errorf("a bad policy is refused with %v", err)
				}
				return
			}
			if _, _, err := explained(p); err != nil {
				t.Errorf("a policy that was taken cannot be told: %v", err)
			}
		case 2:
			m := &rollcallv1.Override{}
			if proto.Unmarshal(data, m) == nil {
				o := message.OverrideOf(m)
				_ = message.Override(&o)
			}
		case 3:
			m := &rollcallv1.Instance{}
			if proto.Unmarshal(data, m) == nil {
				if _, err := proto.Marshal(message.Instance(message.InstanceOf(m))); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func TestWhatSelectsServicesIsChecked(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"a/b", "a b", "ä", strings.Repeat("a", longest+1)} {
		if checkPrefix(bad) == nil {
			t.Errorf("prefix %q is taken", bad)
		}
	}
	for _, bad := range [][]string{{""}, {"zone"}, {"=a"}, make([]string, mostLabels+1)} {
		if _, err := labelsOf(bad); err == nil {
			t.Errorf("labels %q are taken", bad)
		}
	}
	all, err := labelsOf([]string{"zone=a", "version=", "team=x=y"})
	if err != nil {
		t.Fatal(err)
	}
	if !all.on(&rollcall.Instance{Zone: "a", Metadata: map[string]string{"team": "x=y"}}) {
		t.Error("an instance that has all labels is left out")
	}
	if all.on(&rollcall.Instance{Zone: "a", Version: "v", Metadata: map[string]string{"team": "x=y"}}) || all.on(&rollcall.Instance{Zone: "a"}) {
		t.Error("an instance that lacks a label is taken")
	}
	for size, want := range map[int32]int{0: mostPerPage, 1: 1, mostPerPage: mostPerPage, 1 << 30: mostPerPage} {
		if got, err := pageSizeOf(size); err != nil || got != want {
			t.Errorf("page size %d: %d, %v", size, got, err)
		}
	}
}
