"""Labelled images: CIFAR through torchvision, folders, and parquet files of encoded images."""
