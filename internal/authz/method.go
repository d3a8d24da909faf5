package authz

import rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"

// method is what has to be known of a method to decide on it.
type method struct {
	open   bool // to everybody
	verb   verb
	some   bool // it names no service, and answers with what its caller may read
	writes bool // what is done is written down
	each   bool // a stream of requests, each of which is decided on as its own method
}

// methods are all that there are. One that is missing nobody may call.
var methods = map[string]method{
	rollcallv1.RegistrationService_Register_FullMethodName:   {verb: register, writes: true},
	rollcallv1.RegistrationService_Heartbeat_FullMethodName:  {verb: register},
	rollcallv1.RegistrationService_Update_FullMethodName:     {verb: register, writes: true},
	rollcallv1.RegistrationService_Deregister_FullMethodName: {verb: register, writes: true},
	rollcallv1.RegistrationService_Session_FullMethodName:    {verb: register, some: true, each: true},

	rollcallv1.DiscoveryService_ListServices_FullMethodName:    {verb: read, some: true},
	rollcallv1.DiscoveryService_GetService_FullMethodName:      {verb: read},
	rollcallv1.DiscoveryService_ListLeases_FullMethodName:      {verb: read},
	rollcallv1.DiscoveryService_Watch_FullMethodName:           {verb: read},
	rollcallv1.DiscoveryService_WatchServices_FullMethodName:   {verb: read, some: true},
	rollcallv1.DiscoveryService_WaitForRevision_FullMethodName: {verb: known},

	rollcallv1.ControlService_GetPolicy_FullMethodName:      {verb: read},
	rollcallv1.ControlService_GetOverride_FullMethodName:    {verb: read},
	rollcallv1.ControlService_SetPolicy_FullMethodName:      {verb: steer, writes: true},
	rollcallv1.ControlService_DeletePolicy_FullMethodName:   {verb: steer, writes: true},
	rollcallv1.ControlService_SetOverride_FullMethodName:    {verb: steer, writes: true},
	rollcallv1.ControlService_DeleteOverride_FullMethodName: {verb: steer, writes: true},
	rollcallv1.ControlService_Accept_FullMethodName:         {verb: steer, writes: true},
	rollcallv1.ControlService_RemoveInstance_FullMethodName: {verb: steer, writes: true},
	rollcallv1.ControlService_AwaitClients_FullMethodName:   {verb: read},

	rollcallv1.HistoryService_ListEvents_FullMethodName:     {verb: read, some: true},
	rollcallv1.HistoryService_WatchEvents_FullMethodName:    {verb: read, some: true},
	rollcallv1.HistoryService_GetServiceAt_FullMethodName:   {verb: read},
	rollcallv1.HistoryService_ListServicesAt_FullMethodName: {verb: read, some: true},
	rollcallv1.HistoryService_Diff_FullMethodName:           {verb: read, some: true},

	rollcallv1.OperationsService_GetStatus_FullMethodName:      {verb: admin},
	rollcallv1.OperationsService_Diagnose_FullMethodName:       {verb: admin},
	rollcallv1.OperationsService_ListXdsClients_FullMethodName: {verb: admin},
	rollcallv1.OperationsService_ListWatchers_FullMethodName:   {verb: admin},
	rollcallv1.OperationsService_GetCaller_FullMethodName:      {verb: known},

	"/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources": {verb: read, some: true},
	"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources":  {verb: read, some: true},

	"/grpc.health.v1.Health/Check": {open: true},
	"/grpc.health.v1.Health/List":  {open: true},
	"/grpc.health.v1.Health/Watch": {open: true},

	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": {verb: known},
}

// pages are what HTTP serves without a call: by pattern, as the router has it. One that is missing nobody may have. The others are decided
// on by the calls that they make.
var pages = map[string]method{
	"/":             {open: true}, // what it shows comes by calls
	"/livez":        {open: true},
	"/healthz":      {open: true},
	"/readyz":       {open: true},
	"/openapi.json": {open: true},
	"/version":      {verb: admin},
	"/metrics":      {verb: admin},
	"/debug/pprof/": {verb: admin},

	"/v1/prometheus/http_sd":       {open: true},
	"/v1/watch":                    {open: true},
	"/v1/history/watch":            {open: true},
	"/v1/services/{service}/watch": {open: true},
}

// instance is a request that says where an instance is to be.
type instance interface{ GetInstance() *rollcallv1.Instance }

// ask returns what a request asks for, and false when it does not say what its method needs.
func (m method) ask(req any) (ask, bool) {
	a := ask{verb: m.verb, some: m.some}
	if m.some || m.verb == known || m.verb == admin {
		return a, true
	}
	named, ok := req.(interface{ GetService() string })
	if !ok {
		return ask{}, false
	}
	a.service = named.GetService()
	if one, ok := req.(interface{ GetId() string }); ok {
		a.id = one.GetId()
	}
	if one, ok := req.(instance); ok {
		i := one.GetInstance()
		if a.id == "" {
			a.id = i.GetId()
		}
		a.addrs = append(a.addrs, i.GetAddr())
		for _, addr := range i.GetAddrs() {
			a.addrs = append(a.addrs, addr)
		}
	}
	return a, true
}
