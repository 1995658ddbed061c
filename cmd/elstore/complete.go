package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

const (
	// completeTimeout is how long a shell that completes waits for the server.
	completeTimeout = 2 * time.Second
	// maxComplete is the most volumes that a completion offers.
	maxComplete = 500
)

// completion asks the server for what the shell offers. What fails offers nothing.
type completion func(ctx context.Context, s *session, begun string) ([]cobra.Completion, error)

// complete makes the function that cobra wants. most is how many arguments the command takes of the kind, less
// than 0 any number; the arguments after them are completed by then, if given.
func (c *cli) complete(ask completion, most int, then ...cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			if len(args)-most < len(then) {
				return then[len(args)-most](cmd, args, begun)
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		s, err := c.begin(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		offers, err := ask(ctx, s, begun)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return without(offers, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// without leaves out what the command line has already.
func without(offers []cobra.Completion, args []string) []cobra.Completion {
	left := offers[:0]
	for _, offer := range offers {
		word, _, _ := strings.Cut(offer, "\t")
		given := false
		for _, arg := range args {
			given = given || arg == word
		}
		if !given {
			left = append(left, offer)
		}
	}
	return left
}

// volumes offers names, or ids where a name is borne twice or can't be typed, or an id was begun.
func volumes(ctx context.Context, s *session, begun string) ([]cobra.Completion, error) {
	var list []client.Volume
	r := client.AccessibleRequest{Client: s.me, Limit: maxComplete}
	for v, err := range s.All(ctx, r) {
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if isPrefix(begun) && len(list) == maxComplete { // the one that is meant may be beyond
		r.After = before(strings.ToLower(begun))
		more, err := s.Accessible(ctx, r)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return offers(list, begun), nil
}

// binned offers what lies in the bins.
func binned(ctx context.Context, s *session, begun string) ([]cobra.Completion, error) {
	list, err := s.Trash(ctx, s.me)
	return offers(list, begun), err
}

func offers(list []client.Volume, begun string) []cobra.Completion {
	count := map[string]int{}
	for _, v := range list {
		count[v.Name]++
	}
	var out []cobra.Completion
	seen := map[string]bool{}
	for _, v := range list {
		about := v.Format + ", " + humanSize(v.Size)
		switch plain := count[v.Name] == 1 && v.Name == printable(v.Name); {
		case seen[v.ID]:
		case plain && strings.HasPrefix(v.Name, begun):
			out = append(out, cobra.CompletionWithDesc(v.Name, about))
		case begun != "" && strings.HasPrefix(v.ID, strings.ToLower(begun)), !plain && begun == "":
			out = append(out, cobra.CompletionWithDesc(v.ID, printable(v.Name)+", "+about))
		}
		seen[v.ID] = true
	}
	return out
}

// pools offers the names of pools.
func pools(ctx context.Context, s *session, begun string) ([]cobra.Completion, error) {
	list, err := s.Pools(ctx)
	if err != nil {
		return nil, err
	}
	var out []cobra.Completion
	for _, p := range list {
		if p.Name != "" && strings.HasPrefix(p.Name, begun) {
			out = append(out, cobra.CompletionWithDesc(p.Name, p.Path))
		}
	}
	return out, nil
}

// jobs offers jobs of the states, or all.
func jobs(states ...client.State) completion {
	return func(ctx context.Context, s *session, begun string) ([]cobra.Completion, error) {
		list, err := s.Jobs(ctx, client.JobFilter{States: states})
		if err != nil {
			return nil, err
		}
		var out []cobra.Completion
		for _, j := range list {
			if strings.HasPrefix(j.ID, begun) {
				out = append(out, cobra.CompletionWithDesc(j.ID, j.Kind+", "+string(j.State)))
			}
		}
		return out, nil
	}
}

// words offers fixed ones.
func words(list ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
}

// files leaves it to the shell to offer files.
func files(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// completeFlag joins a flag to what it can be.
func completeFlag(cmd *cobra.Command, name string, fn cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(name, fn); err != nil {
		panic(err) // the flag is not there: a mistake that every run of the program shows
	}
}
