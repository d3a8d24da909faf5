package xds

import (
	"slices"
	"strings"
	"time"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rollcall-io/rollcall"
)

// listener is what a target names. It is the same whatever is decided for the service.
func (o *outlook) listener() *listener.Listener {
	return &listener.Listener{
		Name: o.service,
		ApiListener: &listener.ApiListener{ApiListener: packed(&hcm.HttpConnectionManager{
			StatPrefix:     o.service,
			RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{ConfigSource: ads(), RouteConfigName: o.service}},
			HttpFilters: []*hcm.HttpFilter{{
				Name:       "envoy.filters.http.router", // gRPC refuses a list that does not end with it
				ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: packed(&router.Router{})},
			}},
		})},
	}
}

// route leads all calls to the service's cluster, or to those of its versions.
func (o *outlook) route() *route.RouteConfiguration {
	action := &route.RouteAction{RetryPolicy: o.retry()}
	// Envoy's own limit of 15 s, which a policy did not ask for.
	action.Timeout = durationpb.New(0)
	if t := o.policyOf().Timeout; t > 0 {
		action.MaxStreamDuration = &route.RouteAction_MaxStreamDuration{MaxStreamDuration: durationpb.New(t)}
	}
	o.split.lead(action, o)
	return &route.RouteConfiguration{
		Name: o.service,
		VirtualHosts: []*route.VirtualHost{{
			Name: o.service, Domains: []string{"*"},
			Routes: []*route.Route{{
				Match:  &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: ""}},
				Action: &route.Route_Route{Route: action},
			}},
		}},
	}
}

// retriable are the status codes on which gRPC's xDS clients try again; they ignore the others, as we do then.
var retriable = map[string]string{
	"CANCELLED": "cancelled", "DEADLINE_EXCEEDED": "deadline-exceeded", "INTERNAL": "internal",
	"RESOURCE_EXHAUSTED": "resource-exhausted", "UNAVAILABLE": "unavailable",
}

func (o *outlook) retry() *route.RetryPolicy {
	r := o.policyOf().Retry
	if r == nil {
		return nil
	}
	on := r.On
	if len(on) == 0 {
		on = []string{"UNAVAILABLE"}
	}
	var words []string
	for _, code := range on {
		if word := retriable[code]; word != "" {
			words = append(words, word)
		}
	}
	if len(words) == 0 {
		return nil
	}
	slices.Sort(words)
	base, most := backoffOf(r)
	return &route.RetryPolicy{
		RetryOn:      strings.Join(slices.Compact(words), ","),
		NumRetries:   wrapperspb.UInt32(uint32(r.Attempts - 1)),
		RetryBackOff: &route.RetryPolicy_RetryBackOff{BaseInterval: durationpb.New(base), MaxInterval: durationpb.New(most)},
	}
}

// backoffOf fills in the defaults. Clients refuse pauses that are none, or of less than a millisecond.
func backoffOf(r *rollcall.Retry) (base, most time.Duration) {
	base, most = r.Backoff, r.MaxBackoff
	if base == 0 {
		base = 50 * time.Millisecond
	}
	if most == 0 {
		most = max(time.Second, base)
	}
	most = max(most, time.Millisecond)
	return max(min(base, most), time.Millisecond), most
}
