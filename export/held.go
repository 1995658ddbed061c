package export

import (
	"fmt"
	"os"

	"elstore/volume"
)

// Recorded says why a volume, whose directory is dir, is still needed as it is though nothing of it may stand at this moment: this
// server's Book of it has attachments, which stand again as soon as they can, or can't be read. "" is that it is not. It is
// volume.Config.Exported, asked under the volume's lock, and so takes no turn.
func (s *Service) Recorded(id volume.ID, dir *os.Root) string {
	b, err := (&Store{dir: dir}).readBook(id)
	switch {
	case err != nil:
		return err.Error()
	case b.between():
		return fmt.Sprintf("volume %s is moving between the servers %s and %s; conclude or revert its live migration first", id, b.Server, b.Guest())
	case len(b.Attachments) == 0 || b.Server != s.cfg.ServerID:
		return ""
	}
	r := b.Attachments[0]
	return fmt.Sprintf("volume %s is exported to client %s over %s, which stands again as soon as it can; unexport it first", id, r.Client, r.Kind)
}
