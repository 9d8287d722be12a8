// Placeholder until the face lands.
