package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

var (
	noMemberAnswers = newKind("no-member-answers", "No member of etcd answers",
		"Registrations live on as long as etcd is away, callers go on with what they know, but nobody new is found. See whether etcd runs (`systemctl status etcd`, or the server's log), and whether the endpoints are right.")
	noQuorum = newKind("no-quorum", "Etcd has no leader that can confirm anything",
		"Bring members back until more than half of them run: `etcdctl endpoint status --cluster -w table` tells which do. If their machines are lost for good, restore a backup.")
	memberAway = newKind("member-away", "A member of etcd does not answer",
		"See whether it runs, hangs, or is cut off. If its machine is gone for good, take it out and add another: `etcdctl member remove ID`, `etcdctl member add`.")
	quorumAtRisk = newKind("quorum-at-risk", "One more member lost ends etcd",
		"Bring the missing member back before anything else is done to the cluster; no rolling restart until then.")
	memberNotNamed = newKind("member-not-named", "The endpoints leave out a member of etcd",
		"Name every member: a registry goes round a member that hangs by the endpoints that it knows.")
	evenMembers = newKind("even-members", "Etcd has an even number of voting members",
		"Add or remove one: an even number survives no more losses than one member less, and has one more to lose.")
	singleMember = newKind("single-member", "Etcd is a single member",
		"Run three members, on three machines, if the registry is to outlive the loss of one; otherwise see that backups are made.")
	learner = newKind("learner", "A member of etcd is only learning",
		"When it has caught up, `etcdctl member promote ID` gives it a vote; until then it counts for nothing.")
)

var reachCheck = check{"members", "whether etcd's members answer, and how many may be lost", func(ctx context.Context, p *patient) ([]Finding, error) {
	members, err := p.members(ctx)
	if err != nil {
		return nil, err
	}
	if n := slices.IndexFunc(members, func(m member) bool { return denied(m.err) }); n >= 0 {
		return nil, members[n].err
	}
	return judgeReach(members), nil
}}

// judgeReach judges who answers.
func judgeReach(members []member) []Finding {
	var away, unnamed, learners, refuse []string
	voters, well := 0, 0
	for _, m := range members {
		if m.err != nil {
			away = append(away, m.called()+": "+inWords(m.err))
			continue
		}
		if m.unnamed {
			unnamed = append(unnamed, m.called())
		}
		if m.status.IsLearner {
			learners = append(learners, m.called())
			continue
		}
		if m.readErr != nil || m.status.Leader == 0 {
			refuse = append(refuse, fmt.Sprintf("%s: leader %x, a linearizable read: %s", m.called(), m.status.Leader, orWell(m.readErr)))
		}
		well++
	}
	for _, peer := range peersOf(members) {
		if !peer.IsLearner {
			voters++
		}
	}
	answer := fmt.Sprintf("%d of %d voting members answer, %d are needed", well, voters, voters/2+1)
	var found []Finding
	switch {
	case len(away) == len(members):
		return []Finding{noMemberAnswers.found(Critical, "", few(away)...)}
	case len(refuse) == well || well < voters/2+1 && len(refuse) > 0:
		found = append(found, noQuorum.found(Critical, "", few(append([]string{answer}, refuse...))...))
	case len(away) > 0 && voters > 1 && well == voters/2+1:
		found = append(found, quorumAtRisk.found(Warning, "", answer))
	}
	for _, line := range away {
		who, why, _ := strings.Cut(line, ": ")
		found = append(found, memberAway.found(Warning, who, why))
	}
	for _, who := range unnamed {
		found = append(found, memberNotNamed.found(Notice, who, "it was found by asking the others"))
	}
	for _, who := range learners {
		found = append(found, learner.found(Notice, who, "it says so itself"))
	}
	return append(found, judgeNumber(members, voters)...)
}

// judgeNumber judges how many members there are, which only matters to who does not try things out on one machine.
func judgeNumber(members []member, voters int) []Finding {
	peers := peersOf(members)
	switch {
	case voters == 1 && !onLoopback(peers[0], members):
		return []Finding{singleMember.found(Notice, "", "1 voting member, at "+strings.Join(peers[0].ClientURLs, ", "))}
	case voters > 1 && voters%2 == 0:
		return []Finding{evenMembers.found(Notice, "", fmt.Sprintf("%d voting members, of which %d are needed", voters, voters/2+1))}
	}
	return nil
}

func orWell(err error) string {
	if err == nil {
		return "confirmed"
	}
	return inWords(err)
}

// onLoopback reports whether only this machine can reach the member.
func onLoopback(peer *pb.Member, members []member) bool {
	urls := slices.Clone(peer.ClientURLs)
	for _, m := range members {
		urls = append(urls, m.endpoint)
	}
	return !slices.ContainsFunc(urls, func(u string) bool { return !loopback(hostOf(u)) })
}

// hostOf returns the host of an endpoint; "" if it has none, such as a socket of this machine's.
func hostOf(endpoint string) string {
	if strings.HasPrefix(endpoint, "unix") {
		return ""
	}
	if u, err := url.Parse(urlOf(endpoint, false)); err == nil {
		return u.Hostname()
	}
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return endpoint
	}
	return host
}

// loopback reports whether a host is this machine, whoever asks.
func loopback(host string) bool {
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
