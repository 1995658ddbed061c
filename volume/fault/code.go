package fault

// Code is a stable word that programs compare: the `code` of every error body. The names that
// existing clients know are kept as they spell them.
type Code string

// The codes that clients of the source system know.
const (
	VolumeNotFound                        Code = "VolumeNotFound"
	VolumeAlreadyExported                 Code = "VolumeAlreadyExported"
	VolumeNotExportable                   Code = "VolumeNotExportable"
	VolumeBusNotAllowed                   Code = "VolumeBusNotAllowed"
	VolumeFormatNotAllowed                Code = "VolumeFormatNotAllowed"
	VolumeCloningAlgNotAllowed            Code = "VolumeCloningAlgNotAllowed"
	VolumeMetadataNotUpdatable            Code = "VolumeMetadataNotUpdatable"
	VolumeImpossibleFormatMetaUpdate      Code = "VolumeImpossibleFormatMetaUpdate"
	VolumeImpossibleCreatorIDMetaUpdate   Code = "VolumeImpossibleCreatorIDMetaUpdate"
	VolumeImpossibleCloudinitMetaUpdate   Code = "VolumeImpossibleCloudinitMetaUpdate"
	VolumeDimensionNotUpdatable           Code = "VolumeDimensionNotUpdatable"
	VolumeDimensionNotShrinkable          Code = "VolumeDimensionNotShrinkable"
	VolumeNotAllocable                    Code = "VolumeNotAllocable"
	VolumeCannotBeCreated                 Code = "VolumeCannotBeCreated"
	VolumeAvailablePathNotFound           Code = "VolumeAvailablePathNotFound"
	VolumeAlreadyLocked                   Code = "VolumeAlredyLocked" // spelt so by the source system
	VolumeCannotBeDeleted                 Code = "VolumeCannotBeDeleted"
	CloudInitCreateImageDownloadfailed    Code = "CloudInitCreateImageDownloadfailed" // spelt so by the source system
	CloudInitMetadataUploadFailed         Code = "CloudInitMetadataUploadFailed"
	CloudInitIsoCreationFailed            Code = "CloudInitIsoCreationFailed"
	CloudInitMetafilesNumberExceeded      Code = "CloudInitMetafilesNumberExceeded"
	CloudInitExpectedFilesTrackerNotFound Code = "CloudInitExpectedFilesTrackerNotFound"
	UnsupportedFormat                     Code = "UnsupportedFormat"
)

// Our own codes, where none of theirs fits.
const (
	InternalError        Code = "InternalError"        // ours; the log says more
	BadRequest           Code = "BadRequest"           // the body can't be read, or a key is missing or invalid
	NotAllowed           Code = "NotAllowed"           // the caller may not do this
	CrossSite            Code = "CrossSite"            // a web page of another site sent this, or the Host name is foreign
	NoSuchVersion        Code = "NoSuchVersion"        // this API version is not served
	NoSuchPath           Code = "NoSuchPath"           // nothing is at this path
	MethodNotAllowed     Code = "MethodNotAllowed"     // the path answers other methods
	PoolNotFound         Code = "PoolNotFound"         // no pool bears this name
	PoolUnavailable      Code = "PoolUnavailable"      // the pool is not valid, held by another server, read-only or gone
	PoolFull             Code = "PoolFull"             // a limit of the pool or its file system's free space is hit
	VolumeDamaged        Code = "VolumeDamaged"        // the volume's own files can't be understood
	VolumeInUse          Code = "VolumeInUse"          // an export uses the volume
	VolumeNotClonable    Code = "VolumeNotClonable"    // the volume's owner forbade cloning
	VolumeInTrash        Code = "VolumeInTrash"        // the volume lies in its pool's bin
	VolumeExists         Code = "VolumeExists"         // the id is taken
	VolumeReadOnly       Code = "VolumeReadOnly"       // the volume's content can't be changed
	NoReflink            Code = "NoReflink"            // the file system can't copy a volume that is in use
	ImageRefused         Code = "ImageRefused"         // the image is not safe or not whole
	ImageToolFailed      Code = "ImageToolFailed"      // qemu-img refused or failed
	ImageToolMissing     Code = "ImageToolMissing"     // qemu-img is not installed
	FetchFailed          Code = "FetchFailed"          // the URL can't be fetched
	FetchForbidden       Code = "FetchForbidden"       // the URL or path is outside what the configuration allows
	ChecksumMismatch     Code = "ChecksumMismatch"     // the data is not what the checksum says
	JobNotFound          Code = "JobNotFound"          // no job bears this id
	JobCancelled         Code = "JobCancelled"         // the work was cancelled before it was done
	IdempotencyKeyReused Code = "IdempotencyKeyReused" // the key came before with another request
	UploadOffset         Code = "UploadOffset"         // the range does not continue what is there
	UploadInvalidRange   Code = "UploadInvalidRange"   // the range is malformed or past the volume's end
	BodyTooLarge         Code = "BodyTooLarge"         // the body is over its limit
	RateLimited          Code = "RateLimited"          // too many requests
	ConditionFailed      Code = "ConditionFailed"      // a precondition of the request is not met
	Unauthorized         Code = "Unauthorized"         // credentials are missing or wrong
	ShuttingDown         Code = "ShuttingDown"         // the server is stopping
	StateUnavailable     Code = "StateUnavailable"     // the server's own state directory can't be used
	TargetNameTaken      Code = "TargetNameTaken"      // another client and volume have the same export name
	ExportBusy           Code = "ExportBusy"           // somebody is logged in to the export
	ExportFencing        Code = "ExportFencing"        // the export ended, and requests that were under way have not yet
	VolumeNotExported    Code = "VolumeNotExported"    // the volume has no such export
	MigrationNotFound    Code = "MigrationNotFound"    // no live migration bears this id, or has these volumes
	MigrationState       Code = "MigrationState"       // the live migration is not in a state for that
	VolumeMigrating      Code = "VolumeMigrating"      // the volume takes part in a live migration
)

// kinds joins every code to its kind: the one place that does. A code that is missing here is Internal,
// and a test sees to it that none is.
var kinds = map[Code]Kind{
	VolumeNotFound:                        NotFound,
	VolumeAlreadyExported:                 Conflict,
	VolumeNotExportable:                   Forbidden,
	VolumeBusNotAllowed:                   Invalid,
	VolumeFormatNotAllowed:                Invalid,
	VolumeCloningAlgNotAllowed:            Invalid,
	VolumeMetadataNotUpdatable:            Invalid,
	VolumeImpossibleFormatMetaUpdate:      Invalid,
	VolumeImpossibleCreatorIDMetaUpdate:   Invalid,
	VolumeImpossibleCloudinitMetaUpdate:   Invalid,
	VolumeDimensionNotUpdatable:           Invalid,
	VolumeDimensionNotShrinkable:          Invalid,
	VolumeNotAllocable:                    NoSpace,
	VolumeCannotBeCreated:                 Internal,
	VolumeAvailablePathNotFound:           NoSpace,
	VolumeAlreadyLocked:                   Conflict,
	VolumeCannotBeDeleted:                 Conflict,
	CloudInitCreateImageDownloadfailed:    Invalid,
	CloudInitMetadataUploadFailed:         Invalid,
	CloudInitIsoCreationFailed:            Internal,
	CloudInitMetafilesNumberExceeded:      Internal, // as existing clients know it
	CloudInitExpectedFilesTrackerNotFound: Conflict,
	UnsupportedFormat:                     Invalid,

	InternalError:        Internal,
	BadRequest:           Invalid,
	NotAllowed:           Forbidden,
	CrossSite:            Forbidden,
	NoSuchVersion:        NotFound,
	NoSuchPath:           NotFound,
	MethodNotAllowed:     Method,
	PoolNotFound:         NotFound,
	PoolUnavailable:      Unavailable,
	PoolFull:             NoSpace,
	VolumeDamaged:        Unavailable,
	VolumeInUse:          Conflict,
	VolumeNotClonable:    Forbidden,
	VolumeInTrash:        Conflict,
	VolumeExists:         Conflict,
	VolumeReadOnly:       Conflict,
	NoReflink:            Conflict,
	ImageRefused:         Invalid,
	ImageToolFailed:      Internal,
	ImageToolMissing:     Unavailable,
	FetchFailed:          Invalid,
	FetchForbidden:       Forbidden,
	ChecksumMismatch:     Invalid,
	JobNotFound:          NotFound,
	JobCancelled:         Conflict,
	IdempotencyKeyReused: Conflict,
	UploadOffset:         Conflict,
	UploadInvalidRange:   BadRange,
	BodyTooLarge:         TooLarge,
	RateLimited:          TooMany,
	ConditionFailed:      Precondition,
	Unauthorized:         Unauthenticated,
	ShuttingDown:         Unavailable,
	StateUnavailable:     Unavailable,
	TargetNameTaken:      Conflict,
	ExportBusy:           Conflict,
	ExportFencing:        Unavailable,
	VolumeNotExported:    Conflict,
	MigrationNotFound:    NotFound,
	MigrationState:       Conflict,
	VolumeMigrating:      Conflict,
}
