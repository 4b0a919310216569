//! Writers that leave no room for others in the embedding queue.
