"""scikit: laboratories train scikit-learn's logistic regression together, and standardise by statistics that none of them has alone."""
