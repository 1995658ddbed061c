package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newVolumeList(c *cli) *cobra.Command {
	var (
		filters []string
		pool    string
		fullIDs bool
		limit   int
	)
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the volumes that you may see",
		Long: `List your volumes and those that are not private, in the order of their ids.

SIZE is the virtual size and ON DISK what the image takes now. The ids are cut as far as they
stay different; --full-id shows them whole. --filter takes any key of a record.`,
		Example: `  elstore volume list
  elstore volume list --pool fast --filter format=qcow2
  elstore volume list --json | jq -r '.[] | select(.size > 1e12) | .name'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit is %d; it is 0, for all, or more", limit)
			}
			filter, err := parsePairs(filters, "--filter")
			if err != nil {
				return err
			}
			if pool != "" {
				filter["pool"] = pool
			}
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			list := []client.Volume{} // an empty list is a list
			for v, err := range s.All(cmd.Context(), client.AccessibleRequest{Client: s.me, Limit: limit, Filter: filter}) {
				if err != nil {
					return err
				}
				list = append(list, v)
			}
			if c.json {
				return printJSON(cmd, list)
			}
			return printVolumes(c, cmd, list, fullIDs)
		},
	}
	f := cmd.Flags()
	f.StringVar(&pool, "pool", "", "only those of this pool")
	f.StringArrayVar(&filters, "filter", nil, "only those with this attribute, as format=qcow2; may be repeated")
	f.IntVar(&limit, "limit", 0, "at most so many (default all)")
	f.BoolVar(&fullIDs, "full-id", false, "show whole ids")
	completeFlag(cmd, "pool", c.complete(pools, -1))
	return cmd
}

// printVolumes writes the table, or with --quiet the ids.
func printVolumes(c *cli, cmd *cobra.Command, list []client.Volume, fullIDs bool) error {
	if c.quiet {
		for _, v := range list {
			if err := printf(cmd, "%s\n", v.ID); err != nil {
				return err
			}
		}
		return nil
	}
	cut := idDigits
	if !fullIDs {
		cut = shortest(list)
	}
	t := newTable(cmd.OutOrStdout(), "ID", "NAME", "SIZE", "ON DISK", "FORMAT", "POOL", "STATE", "UPDATED (UTC)")
	for _, v := range list {
		t.row(v.ID[:min(cut, len(v.ID))], v.Name, humanSize(v.Size), humanSize(v.SizeOnDisk), v.Format, v.Pool, volumeState(v), minute(v.LastUpdated))
	}
	return t.end()
}

// shortest returns how many digits tell ids that are sorted apart, 8 at the least.
func shortest(list []client.Volume) int {
	const least = 8
	n := least
	for i := 1; i < len(list); i++ {
		a, b := list[i-1].ID, list[i].ID
		same := 0
		for same < min(len(a), len(b)) && a[same] == b[same] {
			same++
		}
		n = max(n, same+1)
	}
	return min(n, idDigits)
}

// volumeState says in a few words what is particular about a volume now.
func volumeState(v client.Volume) string {
	var words []string
	if !v.Available {
		words = append(words, "unavailable")
	}
	if v.Locked {
		words = append(words, lockedBy(v.Operation))
	}
	if v.Exported {
		words = append(words, "exported")
	}
	if len(words) == 0 {
		return "free"
	}
	return strings.Join(words, ", ")
}

func lockedBy(operation string) string {
	if operation == "" {
		return "locked"
	}
	return "locked by " + operation
}

// textKeys are those of a record whose values are text, also where they look like something else.
var textKeys = []string{"name", "pool", "format", "alg", "bus", "creatorID", "volumeID", "iso_type", "operation", "lastUpdated"}

// parsePairs reads key=value. Values that are JSON's true, false or a number are such, but for keys that are text;
// all others are text.
func parsePairs(pairs []string, what string) (map[string]any, error) {
	out := map[string]any{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usagef("%s %q is not of the form key=value", what, pair)
		}
		if _, twice := out[key]; twice {
			return nil, usagef("%s names %s twice", what, key)
		}
		switch number := strings.Trim(value, "0123456789.eE+-") == "" && json.Valid([]byte(value)); {
		case slices.Contains(textKeys, key):
			out[key] = value
		case value == "true" || value == "false":
			out[key] = value == "true"
		case number:
			out[key] = json.Number(value)
		default:
			out[key] = value
		}
	}
	return out, nil
}
