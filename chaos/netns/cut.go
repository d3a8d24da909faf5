package netns

// filters is where rules against other hosts go. Nothing is tracked, so that a rule holds at once for connections too
// that exist already.
const filters = `
table ip cuts {
	chain in { type filter hook input priority 0; }
	chain out { type filter hook output priority 0; }
}`

// Cut drops all packets between two hosts, or between one and the [Outside], both ways, silently: connections stay open
// and hear nothing. Cuts add up until Heal.
func (n *Net) Cut(i, j int) {
	n.t.Helper()
	n.CutOneWay(i, j)
	n.CutOneWay(j, i)
}

// CutOneWay drops all packets that one host sends to another: the receiver hears nothing of the sender. The sender hears
// what the receiver says, as far as TCP goes on when nobody confirms what it says: the first few packets of each
// connection that is open, again and again, and no new connection. Either of the two can be [Outside].
func (n *Net) CutOneWay(from, to int) {
	n.t.Helper()
	switch {
	case from == to:
		n.t.Fatalf("host %d cannot be cut from itself", from)
	case to == Outside: // the machine's own filters are not ours
		n.rule(from, "add rule ip cuts out ip daddr "+n.addr(to)+" drop")
	default:
		n.rule(to, "add rule ip cuts in ip saddr "+n.addr(from)+" drop")
	}
}

// Heal ends all cuts. TCP notices by itself, after a pause that grows with the time it was cut: some 200 ms at first,
// doubled each time it tries in vain.
func (n *Net) Heal() {
	n.t.Helper()
	for i := range n.hosts {
		n.rule(i, "flush table ip cuts")
	}
}

func (n *Net) rule(host int, rule string) {
	n.t.Helper()
	if err := n.Host(host).nft(rule); err != nil {
		n.t.Fatal(err)
	}
}

func (h *Host) nft(ruleset string) error {
	return run(ruleset, "ip", "netns", "exec", h.namespace, "nft", "-f", "-")
}
