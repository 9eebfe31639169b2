"""The zoo: trained behaviour policies, one folder per family, computed with NumPy alone."""
