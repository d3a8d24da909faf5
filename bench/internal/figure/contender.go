package figure

// Who is measured, by the words that benchmarks print. A figure names those that it has, in the order in which they are shown.
var titles = map[string]string{
	"rollcall": "rollcall",
	"bare":     "a policy that only connects",
	"rr":       "round_robin on rollcall’s resolver",
	"etcd-rr":  "round_robin on etcd’s resolver",
	"watch":    "a bare watch of etcd",
	"raw":      "etcd’s client alone",
	"raw-dial": "etcd’s client alone, and a bare connection",
	"cold":     "rollcall, from nothing",
	"session":  "rollcall, a stream for each",
	"each":     "the same server, encoding for each stream",
	"gozero":   "go-zero",
	"kratos":   "kratos",
	"gf":       "gf",
	"jupiter":  "jupiter",
	"kitex":    "kitex",
	"gomicro":  "go-micro",
	"linear":   "go-control-plane’s linear cache",
	"snapshot": "go-control-plane’s snapshot cache",
	"coredns":  "CoreDNS with its etcd plugin and cache",
}

// who makes contenders of their keys.
func who(keys ...string) []Contender {
	var list []Contender
	for _, key := range keys {
		title, known := titles[key]
		if !known {
			panic("figure: nobody is called " + key)
		}
		list = append(list, Contender{Key: key, Title: title})
	}
	return list
}

// printed is a contender whose numbers are printed under a unit of their own.
func printed(key, metric string) Contender {
	c := who(key)[0]
	c.Metric = metric
	return c
}

// called gives a contender another title.
func (c Contender) called(title string) Contender {
	c.Title = title
	return c
}
