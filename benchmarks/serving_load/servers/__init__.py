"""What ours is compared with: each the shortest program that its framework's documentation suggests."""
