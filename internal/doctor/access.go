package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

var (
	authOff = newKind("auth-off", "Everybody who reaches etcd may change everything in it",
		"Have etcd want certificates (`--client-cert-auth`, `rollcall server --client-ca`), and give each program a role: docs/etcd-roles.md. Until then keep its port from everybody else.")
	passwordAuth = newKind("password-auth", "Programs log in to etcd with passwords",
		"Each new stream costs etcd such a login. When a fleet comes back from an outage, logins by the thousand keep it from renewing leases. Use client certificates: docs/etcd-roles.md, Users.")
	simpleTokens = newKind("simple-tokens", "Etcd hands out tokens that only it can check",
		"They end with the member that gave them, and everybody logs in anew at its restart. Use client certificates, or tokens that etcd signs: `--auth-token jwt,pub-key=…,priv-key=…,sign-method=ES256`.")
)

// access is how etcd knows who asks.
type access struct {
	enabled    bool // there are users, and what they may do is limited
	remote     bool // others than this machine can reach it
	encrypted  bool
	identified bool // we show a certificate

	user  string        // that logs in with a password; "": none does
	login time.Duration // that it took; 0: it was not tried
	token string        // that it gave
}

var accessCheck = check{"access", "who may do what in etcd, and how it knows", func(ctx context.Context, p *patient) ([]Finding, error) {
	members, err := p.answering(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := p.door(ctx)
	if err != nil {
		return nil, err
	}
	a := access{remote: !everybodyHere(members), encrypted: p.TLS != nil, user: p.Client.Username}
	a.identified = p.TLS != nil && (len(p.TLS.Certificates) > 0 || p.TLS.GetClientCertificate != nil)
	auth := pb.NewAuthClient(conn)
	switch reply, err := auth.AuthStatus(ctx, &pb.AuthStatusRequest{}); {
	case denied(err):
		a.enabled = true // or nobody would be refused
	case err != nil:
		return nil, err
	default:
		a.enabled = reply.Enabled
	}
	if a.user != "" && a.enabled {
		began := time.Now()
		reply, err := auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: a.user, Password: p.Client.Password})
		if err == nil {
			a.login, a.token = time.Since(began), reply.Token
		}
	}
	return judgeAccess(a), nil
}}

func judgeAccess(a access) []Finding {
	var found []Finding
	if !a.enabled && a.remote && !a.identified {
		evidence := []string{"authentication is off", "it can be reached from other machines"}
		if !a.encrypted {
			evidence = append(evidence, "it is spoken to without TLS")
		}
		found = append(found, authOff.found(Warning, "", evidence...))
	}
	if a.user == "" || !a.enabled {
		return found
	}
	evidence := []string{fmt.Sprintf("user %q logs in with a password", a.user)}
	if a.login > 0 {
		evidence = append(evidence, fmt.Sprintf("a login took %s", span(a.login)))
	}
	found = append(found, passwordAuth.found(Warning, "", evidence...))
	if a.token != "" && strings.Count(a.token, ".") != 2 { // signed ones have three parts
		found = append(found, simpleTokens.found(Notice, "", "a login was given a token without a signature"))
	}
	return slices.Clip(found)
}
