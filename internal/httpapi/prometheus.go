package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// targetGroup is what Prometheus' http_sd reads: one for each instance, since each has labels of its own.
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// selection is what Prometheus asked for.
type selection struct {
	services []string // none: all that begin with prefix
	prefix   string
	labels   []string // each name=value
	port     string   // the name of an address; "" for the instance's own
}

// prometheus serves http_sd: everything that is there, in a fixed order; nothing is an empty list. Also those that drain or may be
// gone are targets: Prometheus finds out, and its labels tell.
func (a *API) prometheus(w http.ResponseWriter, r *http.Request) {
	s, err := selectionOf(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
		return
	}
	found, err := a.answers(r.Context(), s)
	if err != nil {
		fail(w, err)
		return
	}
	groups := []targetGroup{}
	for _, service := range found {
		for _, i := range service.GetInstances() {
			if addr := s.addr(i); addr != "" && s.wants(i) {
				groups = append(groups, targetGroup{[]string{addr}, labelsOf(service.GetService(), i)})
			}
		}
	}
	markStale(w, oldest(found))
	writeJSON(w, groups)
}

func selectionOf(r *http.Request) (selection, error) {
	values, err := query(r, "service", "prefix", "label", "port")
	if err != nil {
		return selection{}, err
	}
	s := selection{services: slices.Compact(slices.Sorted(slices.Values(values["service"]))), labels: values["label"]}
	var prefixErr, portErr error
	s.prefix, prefixErr = single(values, "prefix")
	s.port, portErr = single(values, "port")
	if err := errors.Join(prefixErr, portErr); err != nil {
		return selection{}, err
	}
	if len(s.services) > 0 && s.prefix != "" {
		return selection{}, errors.New("service and prefix do not go together")
	}
	for _, label := range s.labels {
		if name, _, ok := strings.Cut(label, "="); !ok || name == "" {
			return selection{}, fmt.Errorf("label %q is not name=value", label)
		}
	}
	return s, nil
}

// answers asks for the services that a selection names, in the order of their names.
func (a *API) answers(ctx context.Context, s selection) ([]*rollcallv1.GetServiceResponse, error) {
	names := s.services
	if len(names) == 0 {
		var err error
		if names, err = a.names(ctx, s); err != nil {
			return nil, err
		}
	}
	var found []*rollcallv1.GetServiceResponse
	for _, name := range names {
		service, err := a.watches.GetService(ctx, &rollcallv1.GetServiceRequest{Service: name})
		if status.Code(err) == codes.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, service)
	}
	return found, nil
}

// names lists, page by page, the services that may have what is asked for.
func (a *API) names(ctx context.Context, s selection) ([]string, error) {
	var names []string
	for token := ""; ; {
		page, err := a.watches.ListServices(ctx, &rollcallv1.ListServicesRequest{Prefix: s.prefix, Labels: s.labels, PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, service := range page.GetServices() {
			names = append(names, service.GetService())
		}
		if token = page.GetNextPageToken(); token == "" {
			return names, nil
		}
	}
}

func (s selection) addr(i *rollcallv1.Instance) string {
	if s.port == "" {
		return i.GetAddr()
	}
	return i.GetAddrs()[s.port]
}

func (s selection) wants(i *rollcallv1.Instance) bool {
	return !slices.ContainsFunc(s.labels, func(label string) bool {
		name, value, _ := strings.Cut(label, "=")
		return !has(i, name, value)
	})
}

// has reports whether an instance has a label, as ListServices understands labels.
func has(i *rollcallv1.Instance, name, value string) bool {
	switch name {
	case "zone":
		return i.GetZone() == value
	case "version":
		return i.GetVersion() == value
	}
	got, ok := i.GetMetadata()[name]
	return ok && got == value
}

func labelsOf(service string, i *rollcallv1.Instance) map[string]string {
	const meta = "__meta_rollcall_"
	labels := map[string]string{
		meta + "service": service,
		meta + "id":      i.GetId(),
		meta + "zone":    i.GetZone(),
		meta + "version": i.GetVersion(),
		meta + "state":   cmp.Or(i.GetEffectiveState(), i.GetState()),
		meta + "weight":  strconv.Itoa(int(cmp.Or(i.GetEffectiveWeight(), i.GetWeight()))),
	}
	for _, name := range slices.Sorted(maps.Keys(i.GetMetadata())) {
		label := meta + "metadata_" + sanitised(name)
		if _, taken := labels[label]; !taken { // of two names that become one the first counts, each time
			labels[label] = i.GetMetadata()[name]
		}
	}
	return labels
}

// sanitised makes a name one that Prometheus takes in a label.
func sanitised(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, name)
}

// oldest returns since when the oldest of some answers is stale.
func oldest(found []*rollcallv1.GetServiceResponse) *rollcallv1.Staleness {
	var stale *rollcallv1.Staleness
	for _, service := range found {
		if s := service.GetStale(); s != nil && (stale == nil || s.GetSince().AsTime().Before(stale.GetSince().AsTime())) {
			stale = s
		}
	}
	return stale
}

func writeJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		refuse(w, http.StatusInternalServerError, codes.Internal, "the answer cannot be encoded")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}
