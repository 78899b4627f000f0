"""From images to numbers: sets of images, features of them, statistics, figures. Each step is a function by itself."""
