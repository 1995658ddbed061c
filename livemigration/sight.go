package livemigration

import "slices"

// wish is what the destination's server asks of the source's, and standing what the Book of a volume says about a migration between two
// servers; see the package's comment.
type (
	wish     string
	standing string
)

// The wishes. The zero wish is that it could not be read.
const (
	wishPrepare wish = "prepare"
	wishPen     wish = "pen"
	wishRevert  wish = "revert"
	wishNone    wish = "none" // there is no wish: the destination's server has ended
)

// The standings. The zero standing is that it could not be read.
const (
	sources      standing = "source's"        // it is no part of the migration, or none any more
	sourcesPen   standing = "source's pen"    // both have it attached
	passed       standing = "passed"          // both may, and the pen is the destination's
	destinations standing = "destination's"   // it was concluded
	somebodys    standing = "somebody else's" // it was taken over, or is nobody's any more
)

// task is what a server of a migration between two does next.
type task string

// The tasks.
const (
	taskNone   task = ""         // to wait for the other server, or for a call
	taskAdmit  task = "admit"    // source: all Books have the destination, and its server may have been told; journal that
	taskFail   task = "fail"     // source: decide for the source, since not all of them have
	taskPass   task = "pass"     // source: shut the gates, journal that, and pass the pen in every Book
	taskUndo   task = "undo"     // source: take the destination out of every Book, and end
	taskRevert task = "revert"   // source: decide for the source, as the destination's server wishes
	taskGone   task = "gone"     // source: the destination's server has concluded; end
	taskBack   task = "back"     // the other server has reverted, whoever had the pen; end
	taskTake   task = "take"     // destination: take all locks, and journal the pen
	taskCommit task = "commit"   // destination: make every Book its own
	taskReturn task = "return"   // destination: give those volumes back that it has the pen of
	taskAsk    task = "ask"      // destination: write the wish to revert
	taskProven task = "proven"   // what was decided is carried out; end
	taskLost   task = "lost"     // nothing of it is left, since all volumes were taken over; end
	taskStuck  task = "operator" // some volumes were taken over, and others not
)

// sight is what one of the two servers goes by.
type sight struct {
	here   Side
	status Status
	wish   wish
	books  []standing // of each volume
}

// all reports whether each is one of those.
func (v *sight) all(list ...standing) bool {
	return !slices.ContainsFunc(v.books, func(b standing) bool { return !slices.Contains(list, b) })
}

func (v *sight) any(s standing) bool { return slices.Contains(v.books, s) }

// next is what to do. Pure.
func (v *sight) next() task {
	switch {
	case !v.status.Open():
		return taskNone
	case v.status.State == NeedsOperator:
		return v.nextOfUndecided()
	case v.any(somebodys) && v.status.State == Preparing:
		return taskFail // first, since nobody can be asked about what is not prepared
	case v.all(somebodys) && v.status.State == Prepared:
		return taskLost
	case v.any(somebodys) && v.status.State == Prepared && v.any(""):
		return taskNone
	case v.any(somebodys) && v.status.State == Prepared:
		return taskStuck
	case v.here == Source:
		return v.nextOfSource()
	}
	return v.nextOfDestination()
}

// nextOfUndecided ends what needed an operator, and doesn't any more: all of it was decided by the other server, or taken over.
func (v *sight) nextOfUndecided() task {
	switch {
	case v.all(somebodys):
		return taskLost
	case v.all(destinations) && v.here == Source:
		return taskGone
	case v.all(sources):
		return taskBack
	}
	return taskNone
}

func (v *sight) nextOfSource() task {
	switch {
	case v.status.State == Reverting:
		return taskUndo
	case v.status.State == Preparing && v.any(""):
		return taskNone
	case v.status.State == Preparing && v.all(sourcesPen):
		return taskAdmit
	case v.status.State == Preparing:
		return taskFail
	case v.status.State != Prepared:
		return taskNone
	case v.status.Pen == Destination && v.any(sourcesPen):
		return taskPass // it was decided, and not carried out
	case v.status.Pen == Destination && v.all(destinations):
		return taskGone
	case v.status.Pen == Destination && v.all(sources):
		return taskBack
	case v.status.Pen == Destination && !v.any(passed) && !v.any(""):
		return taskStuck // some are the one's and some the other's, as neither of them decides: they were taken over
	case v.status.Pen == Destination:
		return taskNone
	case v.wish == wishPen:
		return taskPass
	case v.wish == wishRevert, v.wish == wishNone:
		return taskRevert
	}
	return taskNone
}

func (v *sight) nextOfDestination() task {
	switch v.status.State {
	case Prepared:
		switch {
		case v.all(sources):
			return taskBack
		case v.status.Pen == Source && v.all(passed):
			return taskTake
		}
	case Concluding: // what was taken over after that was decided is not looked at any more
		switch {
		case v.all(destinations, somebodys):
			return taskProven
		case v.any(passed):
			return taskCommit
		case !v.any(""):
			return taskStuck // the source's server has taken a volume over
		}
	case Reverting:
		switch {
		case v.wish != wishRevert:
			return taskAsk // before it can be proven: the source's server may be about to let the destination in
		case v.any(passed):
			return taskReturn
		case v.all(sources, somebodys):
			return taskProven
		}
	default:
	}
	return taskNone
}
