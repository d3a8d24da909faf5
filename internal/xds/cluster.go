package xds

import (
	"encoding/json"
	"math"
	"time"

	xdstype "github.com/cncf/xds/go/xds/type/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	leastrequest "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/least_request/v3"
	pickfirst "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/pick_first/v3"
	ringhash "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	roundrobin "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/round_robin/v3"
	wrrlocality "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/wrr_locality/v3"
	upstreams "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rollcall-io/rollcall"
)

// ownBalancer is the name of the load-balancing policy of package balancer.
const ownBalancer = "rollcall"

const connectTimeout = 5 * time.Second // of Envoy's; gRPC has its own

// httpOptions is the key of the options by which Envoy speaks HTTP/2 to a cluster.
const httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// ads says that a resource is on the same stream.
func ads() *core.ConfigSource {
	return &core.ConfigSource{
		ResourceApiVersion:    core.ApiVersion_V3,
		ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
	}
}

// cluster is how calls are spread over a cluster's endpoints. Clients that do not know the list of policies take the one before it, with
// which gRPC weighs localities; the others need a standard one at the end of the list.
func (o *outlook) cluster(n name) *cluster.Cluster {
	return &cluster.Cluster{
		Name:                 n.String(),
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig:     &cluster.Cluster_EdsClusterConfig{EdsConfig: ads()},
		ConnectTimeout:       durationpb.New(connectTimeout),
		LbPolicy:             cluster.Cluster_ROUND_ROBIN,
		LoadBalancingPolicy:  o.loadBalancing(),
		CommonLbConfig: &cluster.Cluster_CommonLbConfig{
			HealthyPanicThreshold: &typev3.Percent{}, // Envoy would call those who drain, too, when they are many
			LocalityConfigSpecifier: &cluster.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
				LocalityWeightedLbConfig: &cluster.Cluster_CommonLbConfig_LocalityWeightedLbConfig{},
			},
		},
		CircuitBreakers:  unlimited(),
		OutlierDetection: o.outlierDetection(),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpOptions: packed(&upstreams.HttpProtocolOptions{
			UpstreamProtocolOptions: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
						Http2ProtocolOptions: &core.Http2ProtocolOptions{},
					},
				},
			},
		})},
	}
}

// unlimited takes back the limit of 1,024 calls at a time that clients have when none is stated. The policy knows none.
func unlimited() *cluster.CircuitBreakers {
	most := wrapperspb.UInt32(math.MaxUint32)
	return &cluster.CircuitBreakers{Thresholds: []*cluster.CircuitBreakers_Thresholds{{
		Priority: core.RoutingPriority_DEFAULT, MaxConnections: most, MaxPendingRequests: most, MaxRequests: most, MaxRetries: most,
	}}}
}

// loadBalancing is nil when the default will do: in turn, as localities weigh.
func (o *outlook) loadBalancing() *cluster.LoadBalancingPolicy {
	p := o.policyOf()
	switch p.Balancer {
	case "", ownBalancer:
	case "round_robin":
		return lbPolicies(lbPolicy("round_robin", &roundrobin.RoundRobin{}))
	case "pick_first":
		return lbPolicies(lbPolicy("pick_first", &pickfirst.PickFirst{}), lbPolicy("round_robin", &roundrobin.RoundRobin{}))
	case "ring_hash_experimental", "ring_hash":
		return lbPolicies(
			lbPolicy("ring_hash", &ringhash.RingHash{HashFunction: ringhash.RingHash_XX_HASH}),
			lbPolicy("round_robin", &roundrobin.RoundRobin{}))
	case "least_request_experimental", "least_request":
		return lbPolicies(lbPolicy("least_request", &leastrequest.LeastRequest{}), lbPolicy("round_robin", &roundrobin.RoundRobin{}))
	default:
		return lbPolicies(byName(p.Balancer, &structpb.Struct{}), lbPolicy("round_robin", &roundrobin.RoundRobin{}))
	}
	own := inLocality(p.Balancing)
	if own == nil {
		return nil
	}
	within := []*cluster.LoadBalancingPolicy_Policy{byName(ownBalancer, own)}
	if p.Pick == rollcall.LeastRequest {
		within = append(within, lbPolicy("least_request", &leastrequest.LeastRequest{}))
	}
	within = append(within, lbPolicy("round_robin", &roundrobin.RoundRobin{}))
	return lbPolicies(lbPolicy("wrr_locality", &wrrlocality.WrrLocality{EndpointPickingPolicy: lbPolicies(within...)}))
}

// inLocality is the configuration of package balancer's policy among the endpoints of one locality, where zones and versions have been
// chosen already; nil when the policy asks for nothing that needs it.
func inLocality(b rollcall.Balancing) *structpb.Struct {
	b.Split, b.SplitHeader, b.IgnoreZones = nil, "", false
	text, err := json.Marshal(b)
	if err != nil || string(text) == "{}" {
		return nil
	}
	b.IgnoreZones = true
	if text, err = json.Marshal(b); err != nil {
		return nil
	}
	config := &structpb.Struct{}
	if err := config.UnmarshalJSON(text); err != nil {
		return nil
	}
	return config
}

func lbPolicies(list ...*cluster.LoadBalancingPolicy_Policy) *cluster.LoadBalancingPolicy {
	return &cluster.LoadBalancingPolicy{Policies: list}
}

func lbPolicy(name string, config proto.Message) *cluster.LoadBalancingPolicy_Policy {
	return &cluster.LoadBalancingPolicy_Policy{TypedExtensionConfig: &core.TypedExtensionConfig{
		Name: "envoy.load_balancing_policies." + name, TypedConfig: packed(config),
	}}
}

// byName is a policy that a client knows by its name, or else passes over.
func byName(name string, config *structpb.Struct) *cluster.LoadBalancingPolicy_Policy {
	return &cluster.LoadBalancingPolicy_Policy{TypedExtensionConfig: &core.TypedExtensionConfig{
		Name: name, TypedConfig: packed(&xdstype.TypedStruct{TypeUrl: "type.googleapis.com/" + name, Value: config}),
	}}
}

// outlierDetection is the policy's ejection, as near as the protocol comes to it: whoever fails all calls of a while, and as many as the
// policy says. Clients take every status but OK for a failure, where ours asks whether an answer came at all: so it is there only if
// somebody decided for it.
func (o *outlook) outlierDetection() *cluster.OutlierDetection {
	p := o.policyOf()
	if p.Ejection == (rollcall.Ejection{}) || p.Ejection.Disabled || o.foreign() {
		return nil
	}
	e := p.Balancing.WithDefaults().Ejection
	return &cluster.OutlierDetection{
		Interval:                       durationpb.New(min(e.Time, 10*time.Second)),
		BaseEjectionTime:               durationpb.New(e.Time),
		MaxEjectionTime:                durationpb.New(max(e.Time, time.Millisecond)),
		MaxEjectionPercent:             wrapperspb.UInt32(uint32(e.MaxPercent)),
		Consecutive_5Xx:                count(e.Failures),
		EnforcingSuccessRate:           wrapperspb.UInt32(0),
		EnforcingFailurePercentage:     wrapperspb.UInt32(100),
		FailurePercentageThreshold:     wrapperspb.UInt32(99),
		FailurePercentageMinimumHosts:  wrapperspb.UInt32(2),
		FailurePercentageRequestVolume: count(e.Failures),
	}
}

func count(n int) *wrapperspb.UInt32Value {
	return wrapperspb.UInt32(uint32(min(max(n, 1), math.MaxInt32)))
}

// packed puts a message into an Any, the same one always in the same bytes. It can fail for text that is not UTF-8 only, of which there is
// none in what operators decide.
func packed(m proto.Message) *anypb.Any {
	a := &anypb.Any{}
	_ = anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true})
	return a
}
