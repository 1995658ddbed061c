package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newVolumeUpload(c *cli) *cobra.Command {
	var (
		format  string
		restart bool
	)
	cmd := &cobra.Command{
		Use:   "upload VOLUME FILE",
		Short: "Put an image in place of a volume's content",
		Long: `Send an image to the server, which checks that it arrived whole and then puts it in place of
the volume's content, in one moment. The volume must be as large as the image, or larger.

Where the line breaks, the rest is sent when the server is back; a command that was interrupted
goes on where it was when it is run again.`,
		Example: `  elstore volume upload web disk.img
  elstore volume upload web disk.qcow2 --format qcow2`,
		Args:              args(2, 2, "VOLUME FILE"),
		ValidArgsFunction: c.complete(volumes, 1, files),
		RunE: func(cmd *cobra.Command, given []string) error {
			file, err := os.Open(given[1])
			if err != nil {
				return &usageError{err}
			}
			defer file.Close()
			size, err := file.Seek(0, io.SeekEnd) // also of a disk, whose Stat has no size
			if err != nil {
				return usagef("%s can't be sent: it is no file and no disk", given[1])
			}
			return c.changing(cmd, given[0], func(s *session, id string) error {
				b := c.newBar(cmd, "upload")
				err := s.Upload(cmd.Context(), client.UploadRequest{
					ID: id, By: s.me, Source: file, Size: size, Format: format, Restart: restart, Bytes: b.bytes, Job: b.job,
				})
				b.end()
				if err != nil {
					return resumable(err)
				}
				if c.json {
					v, err := s.Info(cmd.Context(), id)
					if err != nil {
						return err
					}
					return printJSON(cmd, v)
				}
				return c.did(cmd, id, "Uploaded %s into volume %s.", humanSize(size), id)
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "format of the file: raw, qcow2, vmdk, vdi, vhd or vhdx (default raw)")
	cmd.Flags().BoolVar(&restart, "restart", false, "send everything, also what arrived in an earlier try")
	completeFlag(cmd, "format", imageWords)
	return cmd
}

func newVolumeDownload(c *cli) *cobra.Command {
	var (
		format string
		force  bool
	)
	cmd := &cobra.Command{
		Use:   "download VOLUME [FILE]",
		Short: "Write a volume's image to a file",
		Long: `Write a volume's image, as it is at one moment, to FILE; "-" is the standard output. Without
FILE it is the volume's name with the format as extension, in the current directory.

The image comes as FILE.part and takes its name when it is whole. A download that broke goes on
where it was when the command is run again, if the volume is still the same.`,
		Example: `  elstore volume download web
  elstore volume download web web.qcow2 --format qcow2
  elstore volume download web - | zstd > web.img.zst`,
		Args:              args(1, 2, "VOLUME FILE"),
		ValidArgsFunction: c.complete(volumes, 1, files),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.changing(cmd, given[0], func(s *session, id string) error {
				b := c.newBar(cmd, "download")
				r := client.DownloadRequest{ID: id, By: s.me, Format: format, Bytes: b.bytes}
				if len(given) == 2 && given[1] == "-" {
					defer b.end()
					if isTerminal(cmd.OutOrStdout()) {
						return usagef("an image is nothing for a terminal; name a file, or send the output on")
					}
					_, err := s.DownloadTo(cmd.Context(), r, cmd.OutOrStdout())
					return err
				}
				path, err := downloadPath(cmd, s, id, format, given[1:])
				if err != nil {
					return err
				}
				if _, err := os.Lstat(path); !force && !errors.Is(err, fs.ErrNotExist) {
					return usagef("%s is there already; --force replaces it", path)
				}
				n, err := s.Download(cmd.Context(), r, path)
				b.end()
				switch {
				case err != nil:
					return resumable(err)
				case c.json:
					return printJSON(cmd, map[string]any{"vid": id, "path": path, "bytes": n})
				case c.quiet:
					return printf(cmd, "%s\n", path)
				}
				return printf(cmd, "Downloaded %s to %s.\n", humanSize(n), path)
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "format of the file (default the volume's)")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it is there")
	completeFlag(cmd, "format", formatWords)
	return cmd
}

// downloadPath is the file that was named, or one named after the volume.
func downloadPath(cmd *cobra.Command, s *session, id, format string, given []string) (string, error) {
	if len(given) > 0 {
		return given[0], nil
	}
	v, err := s.Info(cmd.Context(), id)
	if err != nil {
		return "", err
	}
	if format == "" {
		format = v.Format
	}
	if format == "raw" {
		format = "img"
	}
	name := fileName(v.Name)
	if name == "" {
		name = id
	}
	return fmt.Sprintf("%s.%s", name, format), nil
}

// fileName makes a volume's name one of a file in the current directory: the server chose it, not the user.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || printable(string(r)) != string(r) {
			return '_'
		}
		return r
	}, name)
	return strings.TrimLeft(name, ".-")
}
