// Package boot has machines start from volumes that were made of images through the API, and are attached by QEMU's own initiator
// with what /export says: Debian with cloud-init, which configures itself from its seed, and an installer's CD.
//
// It is a package of its own since such a machine takes a minute without the processor's help, in which others are tested.
package boot
