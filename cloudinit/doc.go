// Package cloudinit makes cloud-init's seeds: volumes labelled cidata, from which a machine configures itself at its
// first boot (cloud-init's NoCloud data source).
//
// A seed's files are checked before they are taken (Check), can be made from a short form (Short.Render), and become an image through
// package iso (Image). Service keeps seeds as volumes: the files lie beside the image, in the volume's cloud-init-metadata/, with an
// empty file elemento.<n>.expected that says how many there are to be. Until all have come the volume has no content
// and can't be exported. All of that is on disk after each call, so that a restart between two files loses nothing.
package cloudinit
