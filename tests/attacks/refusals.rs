//! What a refused request costs.
