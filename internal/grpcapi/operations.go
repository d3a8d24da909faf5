package grpcapi

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/doctor"
	"github.com/rollcall-io/rollcall/internal/message"
)

// diagnosisLimit bounds one diagnosis; the doctor bounds each of its checks by itself.
const diagnosisLimit = 30 * time.Second

// Operations is what only whoever runs an API knows of it. The zero Operations will do.
type Operations struct {
	Version  string    // the program's
	Started  time.Time // when it began; zero: when the API was made
	Self     string    // its id among the instances of [rollcall.ServerService]; "": it is not one of them
	Embedded bool      // etcd is in this process

	// Patient returns what is diagnosed, and asked how it is. Nil: neither can be.
	Patient func(context.Context) (doctor.Input, error)

	Prefix string // of the registry

	// Propagation tells what the server measured, and Checked how many instances it checks. Nil: nothing is measured, none are.
	Propagation func() *rollcallv1.Propagation
	Checked     func() int

	Xds Xds // nil: there is none
}

// errNoEtcd refuses questions about etcd where there is nobody who may ask it.
var errNoEtcd = errors.New("this server does not tell how its etcd is")

// operations implements rollcall.v1's OperationsService.
type operations struct {
	rollcallv1.UnimplementedOperationsServiceServer

	api   *API
	facts Operations

	mu      sync.Mutex
	looking *look // nil: nobody looks
}

// look is a diagnosis under way.
type look struct {
	done   chan struct{}
	report doctor.Report
	err    error
}

// GetStatus implements rollcall.v1.
func (o *operations) GetStatus(ctx context.Context, _ *rollcallv1.GetStatusRequest) (*rollcallv1.GetStatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp := &rollcallv1.GetStatusResponse{
		Version: message.Text(o.facts.Version), Started: message.Moment(o.facts.Started), Prefix: message.Text(o.facts.Prefix),
		Etcd: o.etcd(ctx), History: o.api.historyBegin(),
	}
	if o.facts.Propagation != nil {
		resp.Propagation = o.facts.Propagation()
	}
	w := o.api.reg.WatchServices()
	defer w.Close()
	all, err := w.Next(ctx)
	if err != nil {
		return nil, err
	}
	resp.Revision, resp.Stale = all.Revision, message.Staleness(all.StaleSince, all.StaleErr)
	resp.Counts = o.counts(all)
	for _, v := range all.Services {
		if v.Service == rollcall.ServerService {
			resp.Servers = o.servers(v)
		}
	}
	return resp, nil
}

// GetCaller implements rollcall.v1.
func (o *operations) GetCaller(ctx context.Context, req *rollcallv1.GetCallerRequest) (*rollcallv1.GetCallerResponse, error) {
	if req.GetService() != "" {
		if err := o.api.reg.Validate(req.GetService(), nil); err != nil {
			return nil, err
		}
	}
	return &rollcallv1.GetCallerResponse{Name: message.Text(o.api.author(ctx)), Verbs: o.api.verbs(ctx, req.GetService())}, nil
}

// etcd asks etcd's members how they are.
func (o *operations) etcd(ctx context.Context) *rollcallv1.EtcdStatus {
	if o.facts.Patient == nil {
		return nil
	}
	status := &rollcallv1.EtcdStatus{Embedded: o.facts.Embedded}
	patient, err := o.facts.Patient(ctx)
	if err != nil {
		status.Members = []*rollcallv1.EtcdMember{{Error: message.Text(err.Error())}}
		return status
	}
	members, alarms := doctor.Glance(ctx, patient)
	status.Alarms = alarms
	for _, m := range members {
		status.Members = append(status.Members, &rollcallv1.EtcdMember{
			Name: message.Text(m.Name), Id: m.ID, Endpoints: []string{m.Endpoint}, Version: message.Text(m.Version), Leader: m.Leader, Learner: m.Learner,
			Size: m.Size, InUse: m.InUse, Quota: m.Quota, Took: message.Duration(m.Took), Error: message.Text(m.Err),
		})
	}
	return status
}

func (o *operations) counts(all *rollcall.Overview) *rollcallv1.Counts {
	c := &rollcallv1.Counts{Streams: int32(o.api.Stats().Streams), Held: int32(o.api.registration.held())}
	if o.facts.Checked != nil {
		c.Checked = int32(o.facts.Checked())
	}
	for _, v := range all.Services {
		s := summaryOf(v, nil)
		if s.GetInstances() > 0 {
			c.Services++
		}
		c.Instances += s.GetInstances()
		c.Serving += s.GetServing()
		c.Draining += s.GetDraining()
		c.Suspect += s.GetSuspect()
		c.Unhealthy += s.GetUnhealthy()
	}
	return c
}

func (o *operations) servers(v *rollcall.View) []*rollcallv1.ServerStatus {
	var servers []*rollcallv1.ServerStatus
	for _, i := range v.Instances {
		servers = append(servers, &rollcallv1.ServerStatus{
			Name: message.Text(i.ID), Addr: message.Text(i.Addr), Version: message.Text(i.Version), Since: message.Moment(i.Registered),
			Self: o.facts.Self != "" && i.ID == o.facts.Self,
		})
	}
	return servers
}

// Diagnose implements rollcall.v1.
func (o *operations) Diagnose(ctx context.Context, _ *rollcallv1.DiagnoseRequest) (*rollcallv1.DiagnoseResponse, error) {
	if o.facts.Patient == nil {
		return nil, errNoEtcd
	}
	l := o.join()
	select {
	case <-l.done:
		return diagnosis(l.report), l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-o.api.ctx.Done():
		return nil, errStopping
	}
}

// join returns the diagnosis that is under way, or begins one. It outlives whoever asked for it, but not the API.
func (o *operations) join() *look {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.looking != nil {
		return o.looking
	}
	l := &look{done: make(chan struct{})}
	o.looking = l
	o.api.wg.Go(func() {
		ctx, cancel := context.WithTimeout(o.api.ctx, diagnosisLimit)
		defer cancel()
		var patient doctor.Input
		if patient, l.err = o.facts.Patient(ctx); l.err == nil {
			l.report = doctor.Diagnose(ctx, patient)
		}
		o.mu.Lock()
		o.looking = nil
		o.mu.Unlock()
		close(l.done)
	})
	return l
}

var severities = map[doctor.Severity]rollcallv1.Finding_Severity{
	doctor.Notice: rollcallv1.Finding_SEVERITY_NOTICE, doctor.Warning: rollcallv1.Finding_SEVERITY_WARNING, doctor.Critical: rollcallv1.Finding_SEVERITY_CRITICAL,
}

func diagnosis(r doctor.Report) *rollcallv1.DiagnoseResponse {
	resp := &rollcallv1.DiagnoseResponse{Time: message.Moment(r.Time)}
	for _, f := range r.Findings {
		one := &rollcallv1.Finding{Id: f.ID, Severity: severities[f.Severity], Subject: message.Text(f.Subject), Title: f.Title, Advice: message.Text(f.Advice)}
		for _, line := range f.Evidence {
			one.Evidence = append(one.Evidence, message.Text(line))
		}
		resp.Findings = append(resp.Findings, one)
	}
	for _, c := range r.Checks {
		resp.Examinations = append(resp.Examinations, &rollcallv1.Examination{
			Id: c.ID, Title: c.Title, Outcome: outcomes[c.Outcome], Why: message.Text(c.Why), Took: durationpb.New(c.Took),
		})
	}
	return resp
}

var outcomes = map[doctor.Outcome]rollcallv1.Examination_Outcome{
	doctor.Well: rollcallv1.Examination_OUTCOME_WELL, doctor.Found: rollcallv1.Examination_OUTCOME_FOUND,
	doctor.Unknown: rollcallv1.Examination_OUTCOME_UNKNOWN, doctor.Skipped: rollcallv1.Examination_OUTCOME_SKIPPED,
}

// withDefaults fills in what is left out.
func (o Operations) withDefaults() Operations {
	o.Started = cmp.Or(o.Started, time.Now())
	return o
}
