package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall/internal/demo"
)

func newDemoCommand() *cobra.Command {
	cfg := demo.Config{For: 20 * time.Second}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the whole story on this machine: register, kill, join, drain, and count the failed calls",
		Long: `demo starts an etcd, three servers of the service ` + demo.Service + `, each its own process, and a caller that makes 200 calls
per second through rollcall:///` + demo.Service + `, with no retry policy and no wait-for-ready. Then one server is killed with SIGKILL, two
join, one is drained and stopped. It prints what happens, then a tally, and exits with 0 only if these promises held:

  - no call failed but those that were in flight to the killed server: sent before SIGKILL + 100 ms
  - the drained server failed no call, said goodbye and ended
  - both joiners got calls
  - the killed server left the view when its TTL of 5 s was over, and no other server did

All ports are free ones, all data is temporary, and ROLLCALL_* variables are ignored.`,
		Example: `  rollcall demo
  rollcall demo --for 1m
  rollcall demo --sabotage stop-at-once             see the promises break: exits with 1`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			if cfg.Program, err = demo.ProgramName(); err != nil {
				return err
			}
			cfg.Greeter = []string{exe, cmd.Name(), demoServer}
			cfg.Out = cmd.OutOrStdout()
			return demo.Run(cmd.Context(), cfg)
		},
	}
	cmd.Flags().Var((*lasting)(&cfg.For), "for", "how long to make calls; at least "+lasting(demo.MinFor).String())
	cmd.Flags().StringVar(&cfg.Sabotage, "sabotage", "", "break something on purpose; "+demo.StopAtOnce+": the drained server just stops")
	cmd.AddCommand(newDemoServerCommand())
	return cmd
}

// demoServer is the sub-command that each server of the demo runs as.
const demoServer = "server"

func newDemoServerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    demoServer,
		Short:  "Be one server of the demo",
		Hidden: true,
		Args:   takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo.RunGreeter(cmd.Context(), cmd.InOrStdin())
		},
	}
}
