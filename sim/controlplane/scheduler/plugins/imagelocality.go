package plugins

import (
	"strings"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// ImageLocality prefers nodes that have the pod's images, by their size and how many nodes have them.
//
// Models kube-scheduler's ImageLocality plugin (pkg/scheduler/framework/plugins/imagelocality, v1.36). Leaves out:
// image volumes.
type ImageLocality struct {
	fwk.Handle
	features *fwk.Features
}

const (
	// The sizes between which images count (image_locality.go minThreshold, maxContainerThreshold).
	imageThresholdMin = 23 << 20
	imageThresholdMax = 1000 << 20
)

var skipImages = fwk.NewStatus(fwk.Skip, imageLocality)

// Name implements fwk.Plugin.
func (pl ImageLocality) Name() string { return imageLocality }

// PreScore leaves the plugin out when no node tells of images.
func (pl ImageLocality) PreScore(_ *fwk.CycleState, _ *fwk.PodInfo, nodes []*fwk.NodeInfo) *fwk.Status {
	for _, node := range nodes {
		if len(node.Images) > 0 {
			return nil
		}
	}
	return skipImages
}

// Score implements fwk.ScorePlugin.
func (pl ImageLocality) Score(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) int64 {
	spec := &pod.Pod.Spec
	sum, images := int64(0), int64(len(spec.Containers))
	for i := range spec.Containers {
		sum += pl.scaled(spec.Containers[i].Image, node)
	}
	if pl.features.InitImages {
		images += int64(len(spec.InitContainers))
		for i := range spec.InitContainers {
			sum += pl.scaled(spec.InitContainers[i].Image, node)
		}
	}
	if pl.features.ImagesOfAnySpread {
		return imageBucket(sum)
	}
	most := int64(imageThresholdMax)
	if pl.features.ImagesPerContainer {
		most *= images
	}
	sum = min(max(sum, imageThresholdMin), most)
	return pl.features.MaxNodeScore * (sum - imageThresholdMin) / (most - imageThresholdMin)
}

// imageBucket is the score of v1.11 (K@1.11:algorithm/priorities/image_locality.go calculateScoreFromSize).
func imageBucket(sum int64) int64 {
	switch {
	case sum < imageThresholdMin:
		return 0
	case sum >= imageThresholdMax:
		return 10
	}
	return 10*(sum-imageThresholdMin)/(imageThresholdMax-imageThresholdMin) + 1
}

// scaled is the image's size, less for one that few nodes have: pods should not gather on them.
func (pl ImageLocality) scaled(image string, node *fwk.NodeInfo) int64 {
	if strings.LastIndex(image, ":") <= strings.LastIndex(image, "/") {
		image += ":latest"
	}
	size, has := node.Images[image]
	if !has {
		return 0
	}
	if pl.features.ImagesOfAnySpread {
		return size
	}
	return size * int64(pl.ImageNodes(image)) / int64(len(pl.Nodes()))
}
