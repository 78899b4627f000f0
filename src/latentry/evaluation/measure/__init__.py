"""From images to numbers: features of them, statistics, figures. Each step is a function by itself."""
