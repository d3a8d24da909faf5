package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// Available tells by name what is missing, or returns nil when networks can be made. Having looked for the programs it
// tries once: a kernel may forbid even root to make namespaces.
func Available() error { return available() }

var available = sync.OnceValue(func() error {
	if err := missing(); err != nil {
		return err
	}
	n, err := build(1)
	if n != nil {
		err = errors.Join(err, remove(n.name))
	}
	if err != nil {
		return fmt.Errorf("network namespaces cannot be made on this machine: %w", err)
	}
	return nil
})

func missing() error {
	var errs []error
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("network namespaces need root"))
	}
	for _, needed := range [][2]string{{"ip", "iproute2"}, {"nft", "nftables"}} {
		if _, err := exec.LookPath(needed[0]); err != nil {
			errs = append(errs, fmt.Errorf("network namespaces need %s, which is in the Debian package %s", needed[0], needed[1]))
		}
	}
	return errors.Join(errs...)
}
