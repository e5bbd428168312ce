"""What a curious, and then a lying, coordinator learns of single parties: with plain federated averaging, and with secure sums."""
