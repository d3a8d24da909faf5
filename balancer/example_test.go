package balancer_test

import (
	"fmt"
	"log"
	"time"

	"github.com/rollcall-io/rollcall/balancer"
)

// A tenth of the calls goes to version v2; who joins is given half a minute to warm up.
func ExampleConfig() {
	text, err := balancer.Config{
		Split:     map[string]float64{"v2": 10},
		SlowStart: 30 * time.Second,
	}.ServiceConfig()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text) // for resolver.WithServiceConfig

	_, err = balancer.Config{Split: map[string]float64{"v1": 60, "v2": 50}}.ServiceConfig()
	fmt.Println(err)
	// Output:
	// {"loadBalancingConfig":[{"rollcall":{"split":{"v2":10},"slowStart":"30s"}},{"round_robin":{}}]}
	// split 110: the percentages of a split add up to 100 at most
}
